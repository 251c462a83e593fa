//! The queries that a configuration brings along.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, raw_sql};

use super::KIND;
use crate::dial::invalid;
use crate::error::Result;
use crate::observation::{Labels, Measurement, Unit};
use crate::text;

/// How many rows a query may yield.
const MAX_ROWS: usize = 100;

/// A query that yields numbers.
#[derive(Debug)]
pub(super) struct Query {
    /// The name of its measurement.
    pub(super) name: String,
    sql: String,
}

impl Query {
    /// A query of one statement that selects.
    ///
    /// # Errors
    /// `InvalidConfig` for a name that is none or is taken, and for a query that is empty.
    pub(super) fn new(name: &str, sql: &str) -> Result<Self> {
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|next| next.is_ascii_alphanumeric() || next == '_');
        if !is_name {
            return Err(invalid(text!(
                "queries: \"{name}\" is no name for a measurement: expected lower-case words joined by _",
                name = name
            )));
        }
        if KIND.metrics.iter().any(|metric| metric.name == name) {
            return Err(invalid(text!("queries: {name} is measured already", name = name)));
        }
        let sql = sql.trim().trim_end_matches(';').trim_end();
        if sql.is_empty() {
            return Err(invalid(text!("queries: {name} is empty", name = name)));
        }
        // As a part of a selection it can be nothing but one itself, whatever it contains. The line breaks keep a
        // comment at its end from swallowing the bracket. The row is turned into JSON because that knows every type.
        Ok(Self {
            name: name.to_owned(),
            sql: format!(
                "SELECT to_json(alpha_row)::text FROM (\n{sql}\n) AS alpha_row LIMIT {}",
                MAX_ROWS + 1
            ),
        })
    }

    /// Asks it.
    ///
    /// # Errors
    /// What kept it from yielding numbers, in one line; the outer error is one that the connection does not survive.
    pub(super) async fn ask(
        &self,
        connection: &mut PgConnection,
    ) -> sqlx::Result<std::result::Result<Vec<Measurement>, String>> {
        raw_sql("SAVEPOINT query").execute(&mut *connection).await?;
        let rows = raw_sql(AssertSqlSafe(self.sql.clone()))
            .fetch_all(&mut *connection)
            .await;
        match rows {
            Ok(rows) => {
                let rows = rows
                    .iter()
                    .map(|row| row.try_get(0))
                    .collect::<sqlx::Result<Vec<String>>>()?;
                Ok(self.read(&rows))
            }
            Err(sqlx::Error::Database(refused)) => {
                raw_sql("ROLLBACK TO SAVEPOINT query")
                    .execute(&mut *connection)
                    .await?;
                Ok(Err(refused.message().to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    fn read(&self, rows: &[String]) -> std::result::Result<Vec<Measurement>, String> {
        if rows.len() > MAX_ROWS {
            return Err(format!("it yields more than {MAX_ROWS} rows"));
        }
        let mut measurements = Vec::new();
        for row in rows {
            let Ok(Value::Object(columns)) = serde_json::from_str(row) else {
                return Err("it yields no row of columns".to_owned());
            };
            let (mut numbers, mut labels) = (Vec::new(), Labels::new());
            let mut has_null = false;
            for (column, value) in columns {
                match value {
                    Value::Number(number) => {
                        numbers.extend(number.as_f64().map(|number| (number, Unit::Count)))
                    }
                    Value::Bool(yes) => numbers.push((f64::from(u8::from(yes)), Unit::Boolean)),
                    Value::String(text) => labels.push((column.into(), text)),
                    Value::Null => has_null = true,
                    _ => return Err(format!("column {column} is neither a number nor a text")),
                }
            }
            match numbers.as_slice() {
                [(value, unit)] => measurements.push(Measurement {
                    name: self.name.clone().into(),
                    value: *value,
                    unit: *unit,
                    labels,
                }),
                // A number that does not exist, such as the mean of nothing.
                [] if has_null => {}
                [] => return Err("it yields no number".to_owned()),
                _ => return Err("it yields several numbers a row, expected one".to_owned()),
            }
        }
        Ok(measurements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &[&str]) -> std::result::Result<Vec<String>, String> {
        let query = Query::new("users", "SELECT 1").unwrap();
        let rows: Vec<_> = rows.iter().map(ToString::to_string).collect();
        let measurements = query.read(&rows)?;
        Ok(measurements
            .iter()
            .map(|measurement| format!("{measurement} {}", measurement.display_value()))
            .collect())
    }

    #[test]
    fn numbers_become_values_and_texts_labels() {
        assert_eq!(read(&[r#"{"count":7}"#]).unwrap(), ["users 7"]);
        assert_eq!(
            read(&[r#"{"plan":"free","count":7}"#, r#"{"plan":"paid","count":2.5}"#]).unwrap(),
            [r#"users{plan="free"} 7"#, r#"users{plan="paid"} 2.5"#]
        );
        assert_eq!(read(&[r#"{"is_well":true}"#]).unwrap(), ["users yes"]);
        assert_eq!(read(&[r#"{"avg":null}"#]).unwrap(), [""; 0]);
        assert_eq!(read(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_yields_no_single_number_is_told_apart() {
        for (rows, expected) in [
            (vec![r#"{"plan":"free"}"#], "it yields no number"),
            (
                vec![r#"{"a":1,"b":2}"#],
                "it yields several numbers a row, expected one",
            ),
            (vec![r#"{"a":[1]}"#], "column a is neither a number nor a text"),
            (vec![r#"{"a":1}"#; 101], "it yields more than 100 rows"),
        ] {
            assert_eq!(read(&rows).unwrap_err(), expected);
        }
    }
}
