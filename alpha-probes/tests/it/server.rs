//! Servers that misbehave in ways that no real one can be configured to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Accepts on loopback and hands each connection to `serve`, for as long as the test's runtime lives.
pub(crate) async fn serve<F, S>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads the head of a request, sends `answer`, and closes.
pub(crate) async fn answering(answer: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(answer).await;
    })
    .await
}

/// Reads the head of a request, sends `head`, and then `piece` again and again, `pause` apart.
pub(crate) async fn repeating(head: &'static [u8], piece: &'static [u8], pause: Duration) -> SocketAddr {
    serve(move |mut stream| async move {
        read_head(&mut stream).await;
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            sent = stream.write_all(piece).await;
            tokio::time::sleep(pause).await;
        }
    })
    .await
}

/// Accepts and says nothing.
pub(crate) async fn silent() -> SocketAddr {
    serve(|stream| async move {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(stream);
    })
    .await
}

/// A port of loopback where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Reads until the empty line that ends the head of a request.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
