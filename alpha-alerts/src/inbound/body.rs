//! Bodies of requests, bounded in size and time.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::refusal::Refusal;

/// How much of a body is read, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_body_bytes: usize,
    pub(super) body_timeout: Duration,
}

/// The whole body.
///
/// Refuses with 413 what is larger than allowed, at once where its length is announced; with 408 what does not arrive in
/// time; with 400 what breaks off.
pub(super) async fn read_body(request: Request, limits: &Limits) -> Result<Bytes, Refusal> {
    let too_large = || {
        let allowed = limits.max_body_bytes;
        Refusal::coded(
            413,
            format!("the body is larger than the {allowed} bytes that are allowed"),
        )
    };
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced: Option<usize> = announced
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > limits.max_body_bytes) {
        return Err(too_large());
    }
    let mut chunks = request.into_body().into_data_stream();
    let reading = async {
        // Small bodies come in one piece, which is not copied.
        let Some(first) = chunks.next().await else {
            return Ok(Bytes::new());
        };
        let first = first.map_err(broken_off)?;
        let Some(second) = chunks.next().await else {
            return if first.len() > limits.max_body_bytes {
                Err(too_large())
            } else {
                Ok(first)
            };
        };
        let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len() * 2));
        body.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            body.extend_from_slice(&chunk.map_err(broken_off)?);
            if body.len() > limits.max_body_bytes {
                return Err(too_large());
            }
            next = chunks.next().await;
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(limits.body_timeout, reading)
        .await
        .unwrap_or_else(|_| Err(Refusal::coded(408, "the body did not arrive in time".to_owned())))
}

fn broken_off(error: axum::Error) -> Refusal {
    Refusal::coded(400, format!("the body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures_util::stream;

    const LIMITS: Limits = Limits {
        max_body_bytes: 10,
        body_timeout: Duration::from_secs(5),
    };

    async fn read(body: Body) -> Result<Bytes, u16> {
        read_body(Request::new(body), &LIMITS)
            .await
            .map_err(|refusal| refusal.status())
    }

    fn chunks(chunks: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(chunks.iter().copied().map(Ok::<_, std::io::Error>)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_size_and_time() {
        assert_eq!(read(Body::empty()).await.unwrap(), "");
        assert_eq!(read(chunks(&["0123456789"])).await.unwrap(), "0123456789");
        assert_eq!(read(chunks(&["01234", "567", "89"])).await.unwrap(), "0123456789");
        assert_eq!(read(chunks(&["0123456789a"])).await, Err(413));
        assert_eq!(read(chunks(&["01234", "567890"])).await, Err(413));
        let stalled = stream::iter([Ok::<_, std::io::Error>("0")]).chain(stream::pending());
        assert_eq!(read(Body::from_stream(stalled)).await, Err(408));
        let broken = stream::iter([Ok("0"), Err(std::io::Error::other("reset"))]);
        assert_eq!(read(Body::from_stream(broken)).await, Err(400));
    }
}
