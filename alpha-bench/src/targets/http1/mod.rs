//! HTTP/1.1 on raw sockets.
//!
//! A general client spends more on generality than the kernel spends on the request. Here a request is bytes laid out
//! before the run, written in one piece, and an answer is read just far enough to know where it ends. Framing follows
//! RFC 9112, section 6.3; whatever it does not allow is a failure of class `malformed`.

mod answer;
mod rendered;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use url::Url;

use self::rendered::Rendered;
use super::transport::Transport;
use crate::error::Result;
use crate::failure::Failure;
use crate::request::{Mix, Request};
use crate::target::{Connection, Exchange, Target};
use crate::template::Inputs;

/// What a read buffer holds at first; answers of an API fit.
const BUFFER: usize = 8 * 1024;

/// An HTTP/1.1 server, with the requests that are sent to it.
#[derive(Clone, Debug)]
pub struct Http1<T> {
    transport: T,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    url: Url,
    mix: Mix,
    rendered: Vec<Rendered>,
}

impl<T: Transport> Http1<T> {
    /// The server at `url` over `transport`; `keep_alive` off asks it to close after each answer.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) for a request that cannot be sent.
    pub fn new(
        transport: T,
        url: &Url,
        requests: &[Request],
        inputs: &Inputs,
        keep_alive: bool,
    ) -> Result<Self> {
        let mix = Mix::new(requests, inputs)?;
        let rendered = mix
            .requests
            .iter()
            .map(|request| Rendered::new(request, url, keep_alive))
            .collect();
        Ok(Self {
            transport,
            plan: Arc::new(Plan {
                url: url.clone(),
                mix,
                rendered,
            }),
        })
    }
}

impl<T: Transport> Target for Http1<T> {
    type Connection = Http1Connection<T>;

    fn describe(&self) -> String {
        super::describe(&self.plan.url)
    }

    fn request_names(&self) -> Vec<String> {
        self.plan.mix.names()
    }

    fn kind_of(&self, sequence: u64) -> usize {
        self.plan.mix.kind_of(sequence)
    }

    async fn connect(&self) -> Result<Http1Connection<T>, Failure> {
        let stream = self.transport.connect().await?;
        Ok(Http1Connection {
            stream,
            plan: Arc::clone(&self.plan),
            buffer: vec![0; BUFFER],
            filled: 0,
            request: Vec::new(),
            body: Vec::new(),
            reusable: true,
        })
    }
}

/// A connection to an HTTP/1.1 server.
#[derive(Debug)]
pub struct Http1Connection<T: Transport> {
    stream: T::Stream,
    plan: Arc<Plan>,
    buffer: Vec<u8>,
    /// How much of the buffer was read and not yet used.
    filled: usize,
    request: Vec<u8>,
    body: Vec<u8>,
    reusable: bool,
}

impl<T: Transport> Connection for Http1Connection<T> {
    async fn exchange(&mut self, sequence: u64) -> Exchange {
        let plan = Arc::clone(&self.plan);
        let kind = plan.mix.kind_of(sequence);
        let request = &plan.mix.requests[kind];
        let bytes = match &plan.rendered[kind] {
            Rendered::Fixed(bytes) => bytes,
            changing => {
                changing.render(request, sequence, &mut self.request, &mut self.body);
                &self.request
            }
        };
        // Whatever goes wrong leaves a connection of which nobody knows where the next answer begins.
        self.reusable = false;
        self.filled = 0;
        if let Err(error) = self.stream.write_all(bytes).await {
            return Exchange::failed(0, error.into());
        }
        // Nothing to do on TCP; TLS may still hold a part of the last record.
        if let Err(error) = self.stream.flush().await {
            return Exchange::failed(0, error.into());
        }
        let mut received = 0;
        let outcome = self.read_answer(request, &mut received).await;
        Exchange {
            bytes: received,
            outcome,
        }
    }

    fn is_reusable(&mut self) -> bool {
        self.reusable && T::is_quiet(&self.stream)
    }
}
