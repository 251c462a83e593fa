//! The Prometheus page of a node, which tells what its RPC does not.

use std::sync::Arc;

use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::http_client::{HttpClient, HttpOptions};
use crate::probe::Context;
use crate::resources::Resources;
use crate::scrape::{self, Buckets, Selector};
use crate::text;

/// The largest page that is read: that of a relay chain's validator has about 1 MB.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// The page of a node, read once for all its checks of a round.
#[derive(Clone, Debug)]
pub(crate) struct Page(Arc<str>);

impl Page {
    /// The first sample of that name, whatever its labels.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        Selector::parse(name).ok()?.first(&self.0)
    }

    /// The histogram of that name, added over all its series; `None` where the page has none.
    pub(crate) fn histogram(&self, name: &str) -> Option<Buckets> {
        let selector = Selector::parse(&format!("{name}_bucket")).ok()?;
        let mut buckets = Buckets::default();
        for sample in scrape::samples(&self.0).flatten() {
            if let Some(labels) = selector.select(&sample)
                && let Some((_, bound)) = labels.iter().find(|(label, _)| *label == "le")
            {
                buckets.add(bound, sample.value);
            }
        }
        (!buckets.is_empty()).then_some(buckets)
    }

    /// The values of the samples that `selector` selects, by the value of `label`; those without it are left out.
    pub(crate) fn values_by(&self, selector: &str, label: &str) -> Vec<(String, f64)> {
        let Ok(selector) = Selector::parse(selector) else {
            return Vec::new();
        };
        let samples = scrape::samples(&self.0).flatten();
        samples
            .filter_map(|sample| {
                let labels = selector.select(&sample)?;
                let (_, name) = labels.iter().find(|(key, _)| *key == label)?;
                Some((name.clone().into_owned(), sample.value))
            })
            .collect()
    }
}

/// A client of the page at `url`.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for what is no address.
pub(crate) fn client(url: &Url, resources: &Resources) -> Result<HttpClient> {
    let options = HttpOptions {
        body_limit: MAX_PAGE_BYTES,
        ..HttpOptions::default()
    };
    HttpClient::new(url.as_str(), &options, resources)
}

/// Reads the page.
///
/// # Errors
/// Whatever kept it from being read in full, naming the address.
pub(crate) async fn page(client: &HttpClient, context: &Context<'_>) -> Result<Page> {
    let unread = |cause: String| {
        Error::new(
            ErrorKind::Malformed,
            text!(
                "could not read the metrics at {address}: {cause}",
                address = client.shown(),
                cause = cause
            ),
        )
    };
    let response = client.get(context).await?;
    if !response.status.is_success() {
        return Err(unread(format!("HTTP {}", response.status.as_u16())));
    }
    if response.is_truncated {
        return Err(unread(format!("more than {MAX_PAGE_BYTES} bytes")));
    }
    Ok(Page(String::from_utf8_lossy(&response.body).into()))
}
