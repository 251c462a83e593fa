//! Who is on duty by the configuration, with the overrides that the server knows.

use alpha_alerts::Text as AlertsText;
use alpha_alerts::oncall::{OnCall, Override, Overrides, Schedule};
use alpha_probes::text;
use jiff::{SignedDuration, Timestamp};

use super::Failure;
use super::remote::{API, Reader, configuration};
use crate::adapt::reworded;
use crate::args::{Global, OnCallSpanArgs, ServerArgs};
use crate::client::{Client, Refusal};
use crate::language::Language;
use crate::terminal::Terminal;

/// The schedules and what overrides them.
pub(super) struct Rota {
    pub(super) on_call: OnCall,
    pub(super) overrides: Overrides,
    pub(super) reader: Reader,
}

impl Rota {
    /// The schedules of the configuration, and the overrides of the server unless `offline`. Where no server answers the
    /// configuration alone counts, and the user is told.
    pub(super) async fn new(
        server: &ServerArgs,
        offline: bool,
        global: &Global,
        language: Language,
        terminal: &mut Terminal,
    ) -> Result<Self, Failure> {
        let config = configuration(global, language, terminal)?;
        let on_call =
            OnCall::new(&config.alerts.on_call).map_err(|problems| reworded(&AlertsText::list(problems)))?;
        let reader = Reader::new(global, language, Some(&config));
        let mut overrides = Overrides::new();
        if !offline {
            let path = [&API[..], &["on-call", "overrides"]].concat();
            let client = Client::new(server, Some(&config));
            let answer: Result<Vec<Override>, Refusal> = match client {
                Ok(client) => client.get(&path, &[]).await,
                Err(problem) => Err(Refusal::Absent(problem)),
            };
            match answer {
                Ok(known) => known.into_iter().for_each(|entry| overrides.put(entry)),
                Err(Refusal::Absent(problem)) if server.server.is_none() => {
                    let text = text!("overrides are not known: {problem}", problem = problem);
                    terminal.warning(reader.language, &text);
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(Self {
            on_call,
            overrides,
            reader,
        })
    }

    /// The schedule of this name, or all.
    pub(super) fn schedules(&self, name: Option<&str>) -> Result<&[Schedule], Failure> {
        match name {
            Some(name) => Ok(std::slice::from_ref(self.on_call.schedule(name)?)),
            None if self.on_call.schedules().is_empty() => {
                Err(text!("the configuration has no schedule: see alerts.on_call.schedules").into())
            }
            None => Ok(self.on_call.schedules()),
        }
    }

    /// The time that is asked about.
    pub(super) fn span(&self, args: &OnCallSpanArgs) -> (Timestamp, Timestamp) {
        let from = args.from.unwrap_or(self.reader.now);
        let days = SignedDuration::from_hours(24 * i64::from(args.days));
        (from, from.saturating_add(days).unwrap_or(Timestamp::MAX))
    }
}

/// Names with commas between them, or the word for none.
pub(super) fn people(people: &[alpha_alerts::oncall::PersonName], reader: &Reader) -> String {
    if people.is_empty() {
        return reader.say(&text!("nobody"));
    }
    let names: Vec<&str> = people.iter().map(|person| person.as_str()).collect();
    names.join(", ")
}
