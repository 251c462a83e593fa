//! The receiver `log`: an event of `tracing`.

use async_trait::async_trait;

use super::limit::Limit;
use super::markup::Dialect;
use super::template::Renderer;
use super::{Integration, LogConfig, Parts, Problems};
use crate::notification::Notification;
use crate::notifier::{Notifier, Receipt, Refusal};
use crate::severity::Severity;
use crate::text::Text;

/// More in one event nobody wants to scroll through.
const LIMIT: Limit = Limit::Bytes(4096);

#[derive(Debug)]
struct Log {
    renderer: Renderer,
}

pub(super) fn build(config: &LogConfig, parts: &Parts<'_>) -> Result<Vec<Integration>, Vec<Text>> {
    let mut problems = Problems::new(parts);
    let renderer = problems.renderer(&config.templates, config.language, Dialect::Plain);
    let log = renderer.map(|renderer| Log { renderer });
    let log = problems.finish(log)?;
    Ok(vec![parts.integration(log, config.send_resolved, config.rate)])
}

#[async_trait]
impl Notifier for Log {
    fn kind(&self) -> &'static str {
        "log"
    }

    async fn notify(&self, notification: &Notification) -> Result<Receipt, Refusal> {
        let message = self.renderer.message_without_links(notification);
        let (title, text) = (message.title(LIMIT), message.text(LIMIT));
        let (id, receiver) = (notification.id, &*notification.receiver);
        if notification.severity.is_at_least(Severity::P1) {
            tracing::error!(target: "alpha_alerts::log", %id, receiver, title, text);
        } else {
            tracing::warn!(target: "alpha_alerts::log", %id, receiver, title, text);
        }
        Ok(Receipt::default())
    }
}
