//! The targets that come with the crate, one protocol per file.

mod fixed_latency;
#[cfg(feature = "http1")]
mod http1;
#[cfg(feature = "http2")]
mod http2;
pub mod transport;
#[cfg(feature = "websocket")]
mod websocket;

pub use fixed_latency::{FixedLatency, FixedLatencyConnection};
#[cfg(feature = "http1")]
pub use http1::{Http1, Http1Connection};
#[cfg(feature = "http2")]
pub use http2::{Http2, Http2Connection};
#[cfg(feature = "websocket")]
pub use websocket::{WebSocket, WebSocketConnection};

/// What reports call the target at `url`: never the user or the password that may stand in it.
fn describe(url: &url::Url) -> String {
    let mut shown = url.clone();
    // Both fail only for a URL without a host, which has neither.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.to_string()
}
