//! Requests as bytes.

use url::Url;

use crate::request::Prepared;
use crate::template::Template;

/// A request as bytes, or as what makes them.
pub(super) enum Rendered {
    Fixed(Vec<u8>),
    Changing {
        /// Fixed text and the template that follows it: the path, then the values of the headers.
        pieces: Vec<(Vec<u8>, Option<Template>)>,
    },
}

impl std::fmt::Debug for Rendered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The bytes may hold a secret header.
        formatter.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Changing { .. } => "Changing",
        })
    }
}

impl Rendered {
    pub(super) fn new(request: &Prepared, url: &Url, keep_alive: bool) -> Self {
        let has = |name: &str| request.headers.iter().any(|(header, _)| header == name);
        let mut pieces: Vec<(Vec<u8>, Option<Template>)> = Vec::new();
        let mut text = format!("{} ", request.method).into_bytes();
        pieces.push((std::mem::take(&mut text), Some(request.path.clone())));
        text.extend_from_slice(b" HTTP/1.1\r\n");
        if !has("host") {
            text.extend_from_slice(format!("host: {}\r\n", authority(url)).as_bytes());
        }
        if !has("user-agent") {
            text.extend_from_slice(
                concat!("user-agent: alpha-bench/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes(),
            );
        }
        if !keep_alive && !has("connection") {
            text.extend_from_slice(b"connection: close\r\n");
        }
        for (name, value) in &request.headers {
            text.extend_from_slice(format!("{name}: ").as_bytes());
            pieces.push((std::mem::take(&mut text), Some(value.clone())));
            text.extend_from_slice(b"\r\n");
        }
        pieces.push((text, None));
        let changing = Self::Changing { pieces };
        let fixed = request.path.as_fixed().is_some()
            && request
                .headers
                .iter()
                .all(|(_, value)| value.as_fixed().is_some())
            && request.body.as_ref().is_none_or(|body| body.as_fixed().is_some());
        if !fixed {
            return changing;
        }
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        changing.render(request, 0, &mut bytes, &mut scratch);
        Self::Fixed(bytes)
    }

    pub(super) fn render(&self, request: &Prepared, sequence: u64, out: &mut Vec<u8>, body: &mut Vec<u8>) {
        use std::io::Write as _;
        let Self::Changing { pieces } = self else {
            return;
        };
        out.clear();
        body.clear();
        for (text, template) in pieces {
            out.extend_from_slice(text);
            if let Some(template) = template {
                template.render(sequence, out);
            }
        }
        if let Some(template) = &request.body {
            template.render(sequence, body);
            // Writing to a vector cannot fail.
            let _ = write!(out, "content-length: {}\r\n", body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Mix, Request};
    use crate::template::Inputs;

    #[test]
    fn a_request_is_laid_out_once_unless_it_changes() {
        let url: Url = "http://example.test:8080/".parse().unwrap();
        let mut inputs = Inputs::default();
        inputs.environment.insert("TOKEN".to_owned(), "abc".to_owned());
        let requests = [
            Request::get("/health").with_header("Authorization", "Bearer ${env:TOKEN}"),
            Request::post("/items/${sequence}", r#"{"n": ${sequence}}"#),
        ];
        let mix = Mix::new(&requests, &inputs).unwrap();
        let fixed = Rendered::new(&mix.requests[0], &url, true);
        let Rendered::Fixed(bytes) = &fixed else {
            panic!("a fixed request was not laid out")
        };
        insta::assert_snapshot!(String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace(env!("CARGO_PKG_VERSION"), "x"), @r"
        GET /health HTTP/1.1
        host: example.test:8080
        user-agent: alpha-bench/x
        authorization: Bearer abc
        ");
        let changing = Rendered::new(&mix.requests[1], &url, false);
        let (mut bytes, mut body) = (Vec::new(), Vec::new());
        changing.render(&mix.requests[1], 12, &mut bytes, &mut body);
        insta::assert_snapshot!(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").replace(env!("CARGO_PKG_VERSION"), "x"), @r#"
        POST /items/12 HTTP/1.1
        host: example.test:8080
        user-agent: alpha-bench/x
        connection: close
        content-length: 9

        {"n": 12}
        "#);
    }
}
