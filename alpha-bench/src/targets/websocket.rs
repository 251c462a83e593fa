//! JSON-RPC over WebSocket, one call or batch at a time on each connection.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use url::Url;

use super::transport::Transport;
use crate::error::Result;
use crate::failure::{Failure, FailureClass};
use crate::request::{Mix, Request};
use crate::target::{Connection, Exchange, Target};
use crate::template::Inputs;

/// How long a message may be.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// How many messages that are no answer (notifications) may come before one.
const MOST_NOTIFICATIONS: usize = 100_000;

/// A WebSocket server, with the messages that are sent to it: the bodies of requests.
#[derive(Clone, Debug)]
pub struct WebSocket<T> {
    transport: T,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    url: Url,
    mix: Mix,
}

impl<T: Transport> WebSocket<T> {
    /// The server at `url` over `transport`; each request's body is a message, answered by the next one that is no
    /// notification.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a request that cannot be sent.
    pub fn new(transport: T, url: &Url, requests: &[Request], inputs: &Inputs) -> Result<Self> {
        Ok(Self {
            transport,
            plan: Arc::new(Plan {
                url: url.clone(),
                mix: Mix::new(requests, inputs)?,
            }),
        })
    }
}

impl<T: Transport> Target for WebSocket<T> {
    type Connection = WebSocketConnection<T>;

    fn describe(&self) -> String {
        super::describe(&self.plan.url)
    }

    fn request_names(&self) -> Vec<String> {
        self.plan.mix.names()
    }

    fn kind_of(&self, sequence: u64) -> usize {
        self.plan.mix.kind_of(sequence)
    }

    async fn connect(&self) -> Result<WebSocketConnection<T>, Failure> {
        let stream = self.transport.connect().await?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(LARGEST_MESSAGE);
        config.max_frame_size = Some(LARGEST_MESSAGE);
        let (stream, _) =
            tokio_tungstenite::client_async_with_config(self.plan.url.as_str(), stream, Some(config))
                .await
                .map_err(failure)?;
        Ok(WebSocketConnection {
            stream,
            plan: Arc::clone(&self.plan),
            reusable: true,
        })
    }
}

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocketConnection<T: Transport> {
    stream: WebSocketStream<T::Stream>,
    plan: Arc<Plan>,
    reusable: bool,
}

/// A message of the server's own accord has a method; an answer has none.
#[derive(Deserialize)]
struct Envelope {
    method: Option<IgnoredAny>,
}

impl<T: Transport> Connection for WebSocketConnection<T> {
    async fn exchange(&mut self, sequence: u64) -> Exchange {
        let plan = Arc::clone(&self.plan);
        let request = &plan.mix.requests[plan.mix.kind_of(sequence)];
        let mut message = Vec::new();
        if let Some(body) = &request.body {
            body.render(sequence, &mut message);
        }
        self.reusable = false;
        let text = String::from_utf8_lossy(&message).into_owned();
        if let Err(error) = self.stream.send(Message::text(text)).await {
            return Exchange::failed(0, failure(error));
        }
        let mut received = 0;
        for _ in 0..MOST_NOTIFICATIONS {
            let message = match self.stream.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Exchange::failed(received, failure(error)),
                None => return Exchange::failed(received, Failure::new(FailureClass::Closed, "")),
            };
            received += message.len() as u64;
            if message.is_close() {
                return Exchange::failed(
                    received,
                    Failure::new(FailureClass::Closed, "the server said goodbye"),
                );
            }
            if !(message.is_text() || message.is_binary()) {
                continue;
            }
            let body = message.into_data();
            if serde_json::from_slice::<Envelope>(&body).is_ok_and(|envelope| envelope.method.is_some()) {
                continue;
            }
            self.reusable = true;
            return Exchange {
                bytes: received,
                outcome: request.check.judge_body(body.len() as u64, &body),
            };
        }
        Exchange::failed(
            received,
            Failure::new(FailureClass::TooLarge, "only notifications came"),
        )
    }

    fn is_reusable(&mut self) -> bool {
        // Notifications may wait unread, so that arrived bytes say nothing here.
        self.reusable
    }
}

fn failure(error: WsError) -> Failure {
    let class = match &error {
        WsError::Io(error) => return Failure::new(FailureClass::of_io(error), ""),
        WsError::ConnectionClosed | WsError::AlreadyClosed => FailureClass::Closed,
        WsError::Capacity(_) => FailureClass::TooLarge,
        WsError::Http(response) if response.status().is_redirection() => FailureClass::Redirect,
        WsError::Http(_) => FailureClass::Status,
        WsError::Tls(_) => FailureClass::Tls,
        WsError::Protocol(kind) if kind.to_string().contains("without closing handshake") => {
            FailureClass::Reset
        }
        _ => FailureClass::Malformed,
    };
    Failure::new(class, error.to_string())
}
