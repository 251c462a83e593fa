//! The probe `prometheus`: numbers from a page of metrics, without a Prometheus in between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::ProbeConfig;
use crate::dial::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::http_client::{BasicAuth, Credentials, HttpClient, HttpOptions, request_headers};
use crate::observation::{Labels, Observation, Unit};
use crate::probe::{Context, Metric, Probe, ProbeKind};
use crate::resources::Resources;
use crate::scrape::{Buckets, Sample, Selector, nearest_name, samples};
use crate::secret::SecretRef;
use crate::text;
use crate::text::Text;

/// 16 MiB: a page beyond it is refused. A large node exposes about one.
const MAX_PAGE: usize = 16 << 20;

/// How many series one entry of `metrics` may select; one that selects more forgot its labels.
const MAX_SERIES: usize = 1000;

/// The kinds of probe in this file.
pub(crate) const KINDS: &[&ProbeKind] = &[&KIND];

static KIND: ProbeKind = ProbeKind {
    name: "prometheus",
    summary: "numbers from a page of metrics in the text format of Prometheus or OpenMetrics",
    metrics: &[
        Metric::gauge(
            "scrape_time",
            Unit::Seconds,
            "How long fetching and reading the page took",
        ),
        Metric::gauge("samples", Unit::Count, "How many numbers are on the page"),
    ],
    is_open: true,
    rules: &[],
};

/// The table `prometheus` of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PrometheusConfig {
    /// The address of the page, such as `http://127.0.0.1:9615/metrics`. Required.
    pub url: String,
    /// What is taken from the page; at least one. Each entry is a metric, in the notation of Prometheus and without its
    /// query language: `substrate_block_height{status="best"}`, with `=`, `!=`, `=~` and `!~`. Every series that it
    /// selects becomes a measurement with the name and the labels of the series.
    ///
    /// `sum(…)`, `min(…)`, `max(…)` and `count(…)` make one measurement of several series, and `p50(…)` to `p99(…)` one
    /// of a histogram: the quantile of what was added since the page was last read, or since the target started where
    /// it is read for the first time. `name = …` names the measurement: `errors = sum(http_requests_total{code=~"5.."})`.
    pub metrics: Vec<String>,
    /// An account to log in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A token to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretRef>,
    /// The authorities to trust instead of this machine's, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl ProbeConfig for PrometheusConfig {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn build(&self, resources: &Resources) -> Result<Arc<dyn Probe>> {
        let plain = BTreeMap::from([(
            "accept".to_owned(),
            "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5".to_owned(),
        )]);
        let credentials = Credentials {
            basic: self.basic_auth.as_ref(),
            bearer: self.bearer_token.as_ref(),
            headers: None,
        };
        let options = HttpOptions {
            headers: request_headers(&plain, credentials, &*resources.secrets)?,
            body_limit: MAX_PAGE,
            ca_file: self.ca_file.clone(),
            ..HttpOptions::default()
        };
        let client = HttpClient::new(&self.url, &options, resources)?;
        if self.metrics.is_empty() {
            return Err(invalid(text!(
                "metrics: expected at least one, such as [\"up\", \"substrate_block_height{status=\\\"best\\\"}\"]"
            )));
        }
        let mut wishes = Vec::new();
        let mut names = BTreeMap::new();
        for entry in &self.metrics {
            let wish = entry
                .parse::<Wish>()
                .map_err(|cause| invalid(text!("metrics: {cause}", cause = cause)))?;
            // Series keep their labels, so that several entries may share a name; single numbers would be mixed up.
            let namesake = names.insert(wish.name.clone(), wish.function);
            if namesake.is_some_and(|function| function != Function::Each || wish.function != Function::Each)
            {
                return Err(invalid(text!(
                    "metrics: two of them are called {name}: name one of them with \"other_name = …\"",
                    name = wish.name
                )));
            }
            wishes.push(wish);
        }
        Ok(Arc::new(PrometheusProbe {
            target: client.target().to_owned(),
            client,
            wishes,
            earlier: Mutex::default(),
        }))
    }
}

/// One entry of `metrics`.
#[derive(Clone, Debug)]
struct Wish {
    name: String,
    function: Function,
    selector: Selector,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    /// Each series by itself.
    Each,
    Sum,
    Min,
    Max,
    Count,
    /// The quantile of a histogram, 0 to 1.
    Quantile(f64),
}

impl FromStr for Wish {
    type Err = Text;

    fn from_str(entry: &str) -> Result<Self, Text> {
        let (given, expression) = match entry.split_once('=') {
            Some((name, expression)) if !name.contains(['{', '(']) => (Some(name.trim()), expression.trim()),
            _ => (None, entry.trim()),
        };
        if let Some(name) = given
            && !is_name(name)
        {
            return Err(text!(
                "\"{name}\" is no name for a measurement: expected lower-case words joined by _",
                name = name
            ));
        }
        let (function, inside) = match expression.split_once('(') {
            Some((function, inside)) if !function.contains('{') => {
                let known = Function::read(function.trim()).ok_or_else(|| {
                    text!(
                        "\"{function}\" is not known: expected one of sum, min, max, count, p50 to p99",
                        function = function
                    )
                })?;
                let inside = inside
                    .strip_suffix(')')
                    .ok_or_else(|| text!("\"{found}\" lacks its closing bracket", found = expression))?;
                (known, inside)
            }
            _ => (Function::Each, expression),
        };
        let mut selector = Selector::parse(inside)?;
        let name = match (given, function) {
            (Some(name), _) => name.to_owned(),
            (None, Function::Quantile(share)) => format!("{}_p{}", selector.name(), (share * 100.0).round()),
            (None, _) => selector.name().to_owned(),
        };
        if let Function::Quantile(_) = function {
            selector = selector.with_suffix("_bucket");
        }
        Ok(Self {
            name,
            function,
            selector,
        })
    }
}

impl Function {
    fn read(name: &str) -> Option<Self> {
        Some(match name {
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            _ => {
                let percent: u8 = name.strip_prefix('p')?.parse().ok()?;
                (1..100)
                    .contains(&percent)
                    .then(|| Self::Quantile(f64::from(percent) / 100.0))?
            }
        })
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|next| next.is_ascii_alphanumeric() || next == '_')
}

/// What a metric counts, as far as its name tells: <https://prometheus.io/docs/practices/naming/>.
fn unit(name: &str) -> Unit {
    let base = name
        .trim_end_matches("_total")
        .trim_end_matches("_sum")
        .trim_end_matches("_max");
    let is_instant = ["_timestamp_seconds", "_time_seconds"]
        .iter()
        .any(|end| base.ends_with(end));
    match base.rsplit('_').next() {
        Some("seconds") if is_instant && !name.ends_with("_total") => Unit::UnixSeconds,
        Some("seconds") => Unit::Seconds,
        Some("bytes") => Unit::Bytes,
        Some("ratio") => Unit::Ratio,
        _ => Unit::Count,
    }
}

#[derive(Debug)]
struct PrometheusProbe {
    client: HttpClient,
    target: String,
    wishes: Vec<Wish>,
    /// The histograms as they were last time, by the name of their measurement.
    earlier: Mutex<BTreeMap<String, Buckets>>,
}

#[async_trait]
impl Probe for PrometheusProbe {
    fn kind(&self) -> &'static ProbeKind {
        &KIND
    }

    fn target(&self) -> &str {
        &self.target
    }

    async fn observe(&self, context: &Context<'_>) -> Result<Observation> {
        let started = Instant::now();
        let response = self.client.get(context).await?;
        let (kind, text) = match response.status {
            StatusCode::OK if response.is_truncated => (
                ErrorKind::Malformed,
                text!(
                    "the page of {target} is larger than {limit}",
                    target = self.target(),
                    limit = Unit::Bytes.format(MAX_PAGE as f64)
                ),
            ),
            StatusCode::OK => {
                let page = String::from_utf8_lossy(&response.body);
                let observation = self.read(&page)?;
                return Ok(observation.with_seconds("scrape_time", started.elapsed()));
            }
            status => {
                let kind = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Denied,
                    StatusCode::NOT_FOUND => ErrorKind::NotApplicable,
                    status if status.is_server_error() => ErrorKind::Unreachable,
                    _ => ErrorKind::Malformed,
                };
                let text = text!(
                    "{target} answered with status {status} instead of a page of metrics",
                    target = self.target(),
                    status = status.as_u16()
                );
                (kind, text)
            }
        };
        Err(Error::new(kind, text))
    }
}

impl PrometheusProbe {
    fn read(&self, page: &str) -> Result<Observation> {
        let mut gathered: Vec<_> = self.wishes.iter().map(Gathered::new).collect();
        let mut count = 0_u32;
        for sample in samples(page) {
            let sample = sample.map_err(|malformed| {
                Error::new(
                    ErrorKind::Malformed,
                    text!(
                        "the page of {target} is no page of metrics: line {line} is \"{content}\"",
                        target = self.target(),
                        line = malformed.line,
                        content = malformed.text
                    ),
                )
            })?;
            count += 1;
            for gathered in &mut gathered {
                gathered.add(&sample)?;
            }
        }
        let missing: Vec<_> = gathered
            .iter()
            .filter(|gathered| gathered.is_empty())
            .map(|gathered| self.absence(page, &gathered.wish.selector))
            .collect();
        if !missing.is_empty() {
            return Err(Error::new(ErrorKind::NotApplicable, Text::list(missing)));
        }
        let mut observation = Observation::new().with("samples", f64::from(count), Unit::Count);
        for gathered in gathered {
            self.tell(gathered, &mut observation);
        }
        Ok(observation)
    }

    /// Why nothing was selected: the name is not there, or its labels are others.
    fn absence(&self, page: &str, selector: &Selector) -> Text {
        let of_name = samples(page)
            .flatten()
            .find(|sample| sample.name == selector.name())
            .and_then(|sample| sample.labels());
        if let Some(labels) = of_name {
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, value)| format!("{key}=\"{value}\""))
                .collect();
            return text!(
                "the page of {target} has no metric {wanted}; one that it has is {name}{labels}",
                target = self.target(),
                wanted = selector.to_string(),
                name = selector.name(),
                labels = format!("{{{}}}", labels.join(","))
            );
        }
        match nearest_name(page, selector.name()) {
            Some(nearest) => text!(
                "the page of {target} has no metric {wanted}; the nearest is {nearest}",
                target = self.target(),
                wanted = selector.to_string(),
                nearest = nearest
            ),
            None => text!(
                "the page of {target} has no metric {wanted}",
                target = self.target(),
                wanted = selector.to_string()
            ),
        }
    }

    fn tell(&self, gathered: Gathered<'_>, observation: &mut Observation) {
        let Wish {
            name,
            function,
            selector,
        } = gathered.wish;
        let values = gathered.series.iter().map(|(value, _)| *value);
        let value = match function {
            Function::Each => {
                for (value, labels) in gathered.series {
                    observation.push(name.clone(), value, unit(selector.name()), labels);
                }
                return;
            }
            Function::Quantile(share) => {
                let unit = unit(selector.name().trim_end_matches("_bucket"));
                let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
                let before = earlier.insert(name.clone(), gathered.buckets.clone());
                let added = before.and_then(|before| gathered.buckets.since(&before));
                if added.is_none() {
                    let fact = format!("{name}_since");
                    observation
                        .facts
                        .insert(fact.into(), "start of the target".into());
                }
                // Nothing is told where nothing was added: no request is not a fast request.
                if let Some(value) = added.unwrap_or(gathered.buckets).quantile(*share) {
                    observation.push(name.clone(), value, unit, Labels::new());
                }
                return;
            }
            Function::Count => {
                observation.push(
                    name.clone(),
                    gathered.series.len() as f64,
                    Unit::Count,
                    Labels::new(),
                );
                return;
            }
            Function::Sum => values.sum(),
            Function::Min => values.fold(f64::INFINITY, f64::min),
            Function::Max => values.fold(f64::NEG_INFINITY, f64::max),
        };
        observation.push(name.clone(), value, unit(selector.name()), Labels::new());
    }
}

/// What one wish found so far.
#[derive(Debug)]
struct Gathered<'a> {
    wish: &'a Wish,
    series: Vec<(f64, Labels)>,
    buckets: Buckets,
}

impl<'a> Gathered<'a> {
    fn new(wish: &'a Wish) -> Self {
        Self {
            wish,
            series: Vec::new(),
            buckets: Buckets::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.series.is_empty() && self.buckets.is_empty()
    }

    fn add(&mut self, sample: &Sample<'_>) -> Result<()> {
        let Some(labels) = self.wish.selector.select(sample) else {
            return Ok(());
        };
        if let Function::Quantile(_) = self.wish.function {
            let bound = labels.iter().find(|(key, _)| *key == "le");
            if let Some((_, bound)) = bound {
                self.buckets.add(bound, sample.value);
            }
            return Ok(());
        }
        if self.series.len() == MAX_SERIES {
            return Err(Error::new(
                ErrorKind::Malformed,
                text!(
                    "{wanted} selects more than {limit} series: add labels",
                    wanted = self.wish.selector.to_string(),
                    limit = MAX_SERIES
                ),
            ));
        }
        // Only where each series is told by itself are its labels needed.
        let labels = match self.wish.function {
            Function::Each => Selector::measured(labels),
            _ => Labels::new(),
        };
        self.series.push((sample.value, labels));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(metrics: &[&str]) -> Result<PrometheusProbe> {
        let config = PrometheusConfig {
            url: "http://node:9615/metrics".to_owned(),
            metrics: metrics.iter().map(ToString::to_string).collect(),
            ..PrometheusConfig::default()
        };
        let resources = Resources::default();
        config.build(&resources)?;
        Ok(PrometheusProbe {
            client: HttpClient::new(&config.url, &HttpOptions::default(), &resources)?,
            target: "node:9615".to_owned(),
            wishes: metrics.iter().map(|entry| entry.parse().unwrap()).collect(),
            earlier: Mutex::default(),
        })
    }

    fn said(observation: &Observation) -> String {
        let lines = observation
            .measurements
            .iter()
            .map(|measurement| format!("{measurement} {}", measurement.display_value()));
        lines.collect::<Vec<_>>().join("\n")
    }

    const PAGE: &str = "\
# TYPE height gauge
height{status=\"best\",chain=\"dev\"} 120
height{status=\"finalized\",chain=\"dev\"} 117
# TYPE requests_total counter
requests_total{code=\"200\"} 10
requests_total{code=\"502\"} 3
# TYPE latency_seconds histogram
latency_seconds_bucket{path=\"/a\",le=\"0.1\"} 5
latency_seconds_bucket{path=\"/a\",le=\"+Inf\"} 5
latency_seconds_bucket{path=\"/b\",le=\"0.1\"} 5
latency_seconds_bucket{path=\"/b\",le=\"+Inf\"} 5
process_start_time_seconds 1.6e9
process_cpu_seconds_total 12.5
resident_bytes 1500000
";

    #[test]
    fn metrics_become_measurements_with_units() {
        let probe = probe(&[
            "height{chain=\"dev\"}",
            "errors = sum(requests_total{code=~\"5..\"})",
            "max(height)",
            "codes = count(requests_total)",
            "p50(latency_seconds)",
            "process_start_time_seconds",
            "process_cpu_seconds_total",
            "resident_bytes",
        ]);
        // Two entries may not make one single number of the same name.
        assert!(probe.is_err());
        let probe = self::probe(&[
            "height{chain=\"dev\"}",
            "errors = sum(requests_total{code=~\"5..\"})",
            "highest = max(height)",
            "codes = count(requests_total)",
            "p50(latency_seconds)",
            "process_start_time_seconds",
            "process_cpu_seconds_total",
            "resident_bytes",
        ]);
        let observation = probe.unwrap().read(PAGE).unwrap();
        insta::assert_snapshot!(said(&observation), @r#"
        samples 11
        height{status="best",chain="dev"} 120
        height{status="finalized",chain="dev"} 117
        errors 3
        highest 120
        codes 2
        latency_seconds_p50 50 ms
        process_start_time_seconds 2020-09-13T12:26:40Z
        process_cpu_seconds_total 12.5 s
        resident_bytes 1.5 MB
        "#);
        assert_eq!(
            observation.facts["latency_seconds_p50_since"],
            "start of the target"
        );
    }

    #[test]
    fn a_quantile_is_of_what_was_added_since_last_time() {
        let probe = probe(&["p50(latency_seconds)"]).unwrap();
        let page = |fast: u32, all: u32| {
            format!(
                "latency_seconds_bucket{{le=\"0.1\"}} {fast}\nlatency_seconds_bucket{{le=\"1\"}} {all}\n\
                 latency_seconds_bucket{{le=\"+Inf\"}} {all}\n"
            )
        };
        let p50 = |page: &str| probe.read(page).unwrap().value("latency_seconds_p50");
        assert_eq!(p50(&page(1000, 1000)), Some(0.05));
        assert_eq!(p50(&page(1000, 1010)), Some(0.55));
        // Nothing was added.
        assert_eq!(p50(&page(1000, 1010)), None);
        // The target restarted.
        assert_eq!(p50(&page(10, 10)), Some(0.05));
    }

    #[test]
    fn a_metric_that_is_missing_is_an_error_that_names_the_nearest() {
        let refusal = |metrics: &[&str]| {
            let error = probe(metrics).unwrap().read(PAGE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotApplicable);
            error.to_string()
        };
        insta::assert_snapshot!(refusal(&["heigth"]), @"the page of node:9615 has no metric heigth; the nearest is height");
        insta::assert_snapshot!(
            refusal(&["height{status=\"bst\"}", "p95(latency)"]),
            @r#"the page of node:9615 has no metric height{status="bst"}; one that it has is height{status="best",chain="dev"}; the page of node:9615 has no metric latency_bucket"#
        );
    }

    #[test]
    fn what_is_no_page_of_metrics_is_malformed() {
        let error = probe(&["up"]).unwrap().read("<html>\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        insta::assert_snapshot!(error, @r#"the page of node:9615 is no page of metrics: line 1 is "<html>""#);
        let many: String = (0..=MAX_SERIES)
            .map(|index| format!("up{{i=\"{index}\"}} 1\n"))
            .collect();
        let error = probe(&["up"]).unwrap().read(&many).unwrap_err();
        insta::assert_snapshot!(error, @"up selects more than 1000 series: add labels");
    }

    #[test]
    fn bad_values_are_refused_with_the_key() {
        for (metrics, expected) in [
            (&[][..], "metrics: expected at least one"),
            (&["up{"], "metrics: \"up{\" is no selector"),
            (&["rate(up)"], "metrics: \"rate\" is not known"),
            (&["p100(up)"], "metrics: \"p100\" is not known"),
            (&["sum(up"], "metrics: \"sum(up\" lacks its closing bracket"),
            (&["a b = up"], "metrics: \"a b\" is no name"),
        ] {
            let config = PrometheusConfig {
                url: "http://node:9615/metrics".to_owned(),
                metrics: metrics.iter().map(ToString::to_string).collect(),
                ..PrometheusConfig::default()
            };
            let error = config.build(&Resources::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
