//! The scripted node answers with the bytes of real ones, which were recorded.

use alpha_probes::testing::{Fault, NodeDouble};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::healthy;

/// Sends `body` as a client would and returns the status line, the content type and the body of the answer.
async fn exchange(url: &Url, request_line: &str, headers: &str, body: &str) -> String {
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (length, (host, port)) = (body.len(), address);
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap();
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    format!("{status} | {} | {body}", kind.unwrap_or_default())
}

pub(super) async fn call(url: &Url, method: &str, params: &str) -> String {
    let question = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let answer = exchange(url, "POST /", "content-type: application/json\r\n", &question).await;
    let ok = "HTTP/1.1 200 OK | application/json; charset=utf-8 | ";
    answer.strip_prefix(ok).map_or(answer.clone(), str::to_owned)
}

#[tokio::test]
async fn answers_have_the_bytes_of_a_real_node() {
    let node = NodeDouble::start(healthy()).await;
    let url = node.url();
    // Recorded from a validator of a chain of four, polkadot 1.25.1.
    for (method, params, recorded) in [
        (
            "system_health",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":{"peers":3,"isSyncing":false,"shouldHavePeers":false}}"#,
        ),
        (
            "system_syncState",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":{"startingBlock":0,"currentBlock":41,"highestBlock":41}}"#,
        ),
        (
            "system_name",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":"Parity Polkadot"}"#,
        ),
        (
            "system_version",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":"1.25.1-00000000000"}"#,
        ),
        (
            "system_nodeRoles",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":["Authority"]}"#,
        ),
        (
            "system_properties",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"result":{"ss58Format":42,"tokenDecimals":10,"tokenSymbol":"PAS"}}"#,
        ),
        (
            "chain_getBlockHash",
            "[0]",
            r#"{"jsonrpc":"2.0","id":1,"result":"0xd0e3fae1570c0e5994e0e5a97950ce8cd7fa4dce448f2acde51edd29b6033eda"}"#,
        ),
        (
            "chain_getBlockHash",
            "[[4000]]",
            r#"{"jsonrpc":"2.0","id":1,"result":[null]}"#,
        ),
        (
            "chain_getBlockHash",
            "[[]]",
            r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
        ),
        (
            "chain_getHeader",
            r#"["0x0000000000000000000000000000000000000000000000000000000000000001"]"#,
            r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        ),
        (
            "state_getStorage",
            r#"["0x00","0x0000000000000000000000000000000000000000000000000000000000000001"]"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":4003,"message":"Client error: UnknownBlock: Header was not found in the database: 0x0000000000000000000000000000000000000000000000000000000000000001"}}"#,
        ),
        (
            "state_call",
            r#"["AuraApi_slot_duration","0x"]"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":4003,"message":"Client error: Execution failed: Other: Exported method AuraApi_slot_duration is not found"}}"#,
        ),
        (
            "nope",
            "[]",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#,
        ),
        (
            "author_hasSessionKeys",
            r#"["0x00"]"#,
            r#"{"jsonrpc":"2.0","id":1,"result":true}"#,
        ),
    ] {
        assert_eq!(call(&url, method, params).await, recorded, "{method}{params}");
    }
}

/// The names of all keys in the order they come, and the first characters of each value that is no list or table.
pub(super) fn shape(answer: &str) -> String {
    let mut shape = String::new();
    for part in answer.split_inclusive([',', '{', '}', '[', ']']) {
        let Some((key, value)) = part.split_once("\":") else {
            continue;
        };
        let kind = match value.as_bytes() {
            [b'"', b'0', b'x', ..] => "0x",
            [b'"', ..] => "text",
            [b'0'..=b'9', ..] => "number",
            [b't' | b'f', ..] => "truth",
            _ => "",
        };
        shape.push_str(&format!("{}={kind} ", key.trim_start_matches('"')));
    }
    shape
}

#[tokio::test]
async fn headers_votes_and_versions_have_the_shape_of_recorded_ones() {
    let node = NodeDouble::start(healthy()).await;
    let url = node.url();
    for (method, recorded) in [
        (
            "chain_getHeader",
            r#"{"jsonrpc":"2.0","id":1,"result":{"parentHash":"0x12d526da7a3f6cb05485daea66c6a31abc54ddd9143a5276a8e8fea59f2fb344","number":"0x11","stateRoot":"0xf96b9dcdeb05f3b49833a50821757769b2809d1a5643931ad774d7d0a2ccec43","extrinsicsRoot":"0xb670902b9aa86dbe2ee7d4cff09ee2061d39350de403d2db796d70f1a2093dcd","digest":{"logs":["0x0642414245b501030100000009fcd51100"]}}}"#,
        ),
        (
            "grandpa_roundState",
            r#"{"jsonrpc":"2.0","id":1,"result":{"setId":0,"best":{"round":148,"totalWeight":4,"thresholdWeight":3,"prevotes":{"currentWeight":4,"missing":[]},"precommits":{"currentWeight":4,"missing":[]}},"background":[]}}"#,
        ),
        (
            "state_getRuntimeVersion",
            r#"{"jsonrpc":"2.0","id":1,"result":{"specName":"paseo","implName":"paseo-testnet","authoringVersion":0,"specVersion":1001002,"implVersion":0,"apis":[["0xdf6acb689907609b",4],["0x37e397fc7c91f5e4",2]],"transactionVersion":25,"systemVersion":0,"stateVersion":0}}"#,
        ),
        (
            "system_peers",
            r#"{"jsonrpc":"2.0","id":1,"result":[{"peerId":"12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD","roles":"AUTHORITY","bestHash":"0x37","bestNumber":17},{"peerId":"12D3","roles":"AUTHORITY","bestHash":"0x12","bestNumber":16},{"peerId":"12D3","roles":"AUTHORITY","bestHash":"0x11","bestNumber":14}]}"#,
        ),
    ] {
        assert_eq!(
            shape(&call(&url, method, "[]").await),
            shape(recorded),
            "{method}"
        );
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_as_a_real_node_does() {
    let node = NodeDouble::start(healthy()).await;
    let url = node.url();
    let json = "content-type: application/json\r\n";
    assert_eq!(
        exchange(&url, "GET /", "", "").await,
        "HTTP/1.1 405 Method Not Allowed | text/plain | Used HTTP Method is not allowed. POST is required\n"
    );
    assert_eq!(
        exchange(&url, "POST /", "", "{}").await,
        "HTTP/1.1 415 Unsupported Media Type | text/plain | Supplied content type is not allowed. Content-Type: \
         application/json is required\n"
    );
    assert_eq!(
        exchange(&url, "POST /", json, "{}").await,
        r#"HTTP/1.1 200 OK | application/json; charset=utf-8 | {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#
    );
    assert_eq!(
        exchange(&url, "POST /", json, "not-json").await,
        r#"HTTP/1.1 400 Bad Request | application/json; charset=utf-8 | {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#
    );
    assert_eq!(
        exchange(&url, "GET /health", "", "").await,
        r#"HTTP/1.1 200 OK | application/json; charset=utf-8 | {"peers":3,"isSyncing":false,"shouldHavePeers":false}"#
    );
    node.script().fail("", Fault::FOREIGN_HOST);
    assert_eq!(
        exchange(
            &url,
            "POST /",
            json,
            r#"{"jsonrpc":"2.0","id":1,"method":"system_name"}"#
        )
        .await,
        "HTTP/1.1 403 Forbidden | text/plain | Provided Host header is not whitelisted.\n"
    );
}
