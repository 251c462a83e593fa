//! Puts an honest load on an HTTP or JSON-RPC service and reports latency that can gate a release.
