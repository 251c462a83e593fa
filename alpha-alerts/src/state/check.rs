//! Whether a command makes sense now. It may have lost its sense when it is carried out; it then does nothing.

use jiff::Timestamp;

use super::State;
use crate::command::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::incident::{Incident, IncidentId};
use crate::text;
use crate::text::Text;

impl State {
    /// Says what is wrong with a command, if anything.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where what it names is not there, [`ErrorKind::Conflict`] where that does not allow it,
    /// [`ErrorKind::InvalidInput`] where it is wrong in itself.
    pub fn check(&self, command: &Command, now: Timestamp) -> Result<()> {
        match command {
            Command::Alerts(_) => Ok(()),
            Command::PutSilence(silence) => silence.check(now),
            Command::ExpireSilence { id, .. } => match self.silences.get(*id) {
                Some(_) => Ok(()),
                None => not_found(text!("there is no silence {id}", id = id.to_string())),
            },
            Command::Acknowledge { incident, .. } => {
                let incident = self.open_incident(*incident)?;
                match &incident.acknowledged {
                    Some(acknowledged) => Err(Error::new(
                        ErrorKind::Conflict,
                        text!(
                            "incident {id} was acknowledged by {by} at {at}",
                            id = incident.id.0,
                            by = &acknowledged.by,
                            at = acknowledged.at.to_string()
                        ),
                    )),
                    None => Ok(()),
                }
            }
            Command::Unacknowledge { incident, .. } => {
                let incident = self.open_incident(*incident)?;
                if incident.acknowledged.is_some() {
                    return Ok(());
                }
                Err(Error::new(
                    ErrorKind::Conflict,
                    text!("nobody has acknowledged incident {id}", id = incident.id.0),
                ))
            }
            Command::Resolve { incident, .. } => self.open_incident(*incident).map(drop),
            Command::Note { incident, .. } => self.known_incident(*incident).map(drop),
            Command::Heartbeat { name, .. } => match self.rules.heartbeat(name) {
                Some(_) => Ok(()),
                None => not_found(text!("there is no heartbeat called {name}", name = name)),
            },
            Command::PutOverrides(overrides) => overrides
                .iter()
                .try_for_each(|entry| entry.check(self.rules.on_call())),
            Command::RemoveOverride { id, .. } => match self.overrides.get(*id) {
                Some(_) => Ok(()),
                None => not_found(text!("there is no override {id}", id = id.to_string())),
            },
            Command::PutHandover(_) => Ok(()),
            Command::AcceptHandover { id, .. } => match self.handovers.get(id) {
                Some(_) => Ok(()),
                None => not_found(text!("there is no hand-over report {id}", id = id.to_string())),
            },
        }
    }

    fn known_incident(&self, id: IncidentId) -> Result<&Incident> {
        self.incidents
            .get(&id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, text!("there is no incident {id}", id = id.0)))
    }

    fn open_incident(&self, id: IncidentId) -> Result<&Incident> {
        let incident = self.known_incident(id)?;
        match incident.resolved_at {
            Some(at) => Err(Error::new(
                ErrorKind::Conflict,
                text!("incident {id} is over since {at}", id = id.0, at = at.to_string()),
            )),
            None => Ok(incident),
        }
    }
}

fn not_found(message: Text) -> Result<()> {
    Err(Error::new(ErrorKind::NotFound, message))
}
