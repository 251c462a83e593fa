//! One kept connection, and what it means when there is none.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, raw_sql};
use tokio::time::Instant;

use super::PostgresProbe;
use crate::dial::{Phase, Progress, closed_early, not_connected};
use crate::error::{Error, ErrorKind, Result};
use crate::observation::Observation;
use crate::probe::Context;
use crate::text;

/// Who logs in where.
pub(super) struct Login {
    pub(super) options: PgConnectOptions,
    pub(super) user: String,
    pub(super) database: String,
}

impl fmt::Debug for Login {
    /// Without the options, which hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Login")
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// A connection, and how long it took to make.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PgConnection,
    connect_time: Duration,
}

impl PostgresProbe {
    /// Everything, on the kept connection or a new one.
    ///
    /// All happens in one transaction that can only read and ends with a rollback. Its settings are its own: behind a
    /// pooler, one that outlived it would be met by whoever is given the same connection next.
    pub(super) async fn ask(
        &self,
        context: &Context<'_>,
        ending: Instant,
        progress: &mut Progress,
    ) -> Result<Observation> {
        let mut kept = self.session.lock().await;
        let mut session = match kept.take() {
            Some(mut session) => {
                progress.phase = Phase::Answer;
                // One that the server closed meanwhile is no news.
                match begin(&mut session.connection, ending).await {
                    Ok(()) => session,
                    Err(_) => self.connect(ending, progress).await?,
                }
            }
            None => self.connect(ending, progress).await?,
        };
        let answer = self.take_stock(context, &mut session.connection).await;
        let observation = answer.map_err(|error| self.refusal(&error, progress))??;
        let ended = raw_sql("ROLLBACK").execute(&mut session.connection).await;
        let connect_time = session.connect_time;
        if ended.is_ok() {
            *kept = Some(session);
        }
        Ok(observation.with_seconds("connect_time", connect_time))
    }

    async fn connect(&self, ending: Instant, progress: &mut Progress) -> Result<Session> {
        progress.phase = Phase::Connect;
        let started = Instant::now();
        let connected = self.login.options.connect().await;
        let mut connection = connected.map_err(|error| self.refusal(&error, progress))?;
        let connect_time = started.elapsed();
        progress.connect_time = Some(connect_time);
        progress.phase = Phase::Answer;
        begin(&mut connection, ending)
            .await
            .map_err(|error| self.refusal(&error, progress))?;
        Ok(Session {
            connection,
            connect_time,
        })
    }

    /// What it means that a question failed.
    pub(super) fn refusal(&self, error: &sqlx::Error, progress: &Progress) -> Error {
        let address = progress.address();
        let (user, database) = (&self.login.user, &self.login.database);
        match error {
            sqlx::Error::Database(refused) => {
                let said = refused.message();
                let code = refused.code().unwrap_or_default();
                // The codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
                let (kind, text) = match &*code {
                    "28P01" | "28000" | "42501" => (
                        ErrorKind::Denied,
                        text!(
                            "PostgreSQL at {address} refused the user {user} for the database {database}: {said}",
                            address = address,
                            user = user,
                            database = database,
                            said = said
                        ),
                    ),
                    "3D000" => (
                        ErrorKind::NotApplicable,
                        text!(
                            "there is no database {database} at {address} (asked as {user})",
                            database = database,
                            address = address,
                            user = user
                        ),
                    ),
                    "53300" => (
                        ErrorKind::Unreachable,
                        text!(
                            "PostgreSQL at {address} has too many connections and lets nobody in: {said}",
                            address = address,
                            said = said
                        ),
                    ),
                    "57P01" | "57P02" | "57P03" => (
                        ErrorKind::Unreachable,
                        text!(
                            "PostgreSQL at {address} is starting or stopping: {said}",
                            address = address,
                            said = said
                        ),
                    ),
                    "57014" => return progress.timed_out(),
                    _ => (
                        ErrorKind::Malformed,
                        text!(
                            "PostgreSQL at {address} failed: {said}",
                            address = address,
                            said = said
                        ),
                    ),
                };
                Error::new(kind, text)
            }
            sqlx::Error::Io(cause) if progress.phase == Phase::Connect => match cause.kind() {
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
                    closed_early(address)
                }
                _ => not_connected(address, cause),
            },
            sqlx::Error::Io(_) => closed_early(address),
            sqlx::Error::Tls(cause) => {
                let cause = cause.to_string();
                let text = text!(
                    "no TLS connection with {address}: {cause}",
                    address = address,
                    cause = cause
                );
                Error::new(ErrorKind::Unreachable, text)
            }
            // sqlx takes the end of the stream for an answer of zero when it asks for TLS.
            sqlx::Error::Protocol(said) if said.contains("SSLRequest: 0x00") => closed_early(address),
            sqlx::Error::Protocol(_) => {
                let text = text!(
                    "{address} does not speak the protocol of PostgreSQL",
                    address = address
                );
                Error::new(ErrorKind::Malformed, text)
            }
            error => {
                let cause = error.to_string();
                let text = text!(
                    "the answer of {address} cannot be understood: {cause}",
                    address = address,
                    cause = cause
                );
                Error::new(ErrorKind::Malformed, text)
            }
        }
    }
}

/// Opens the transaction. The server gives up by itself before `ending`, so that it does not go on with what nobody
/// waits for.
async fn begin(connection: &mut PgConnection, ending: Instant) -> sqlx::Result<()> {
    let left = ending.saturating_duration_since(Instant::now());
    let limit = (left.as_millis() * 9 / 10).max(1);
    let sql = format!("BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {limit}");
    raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}
