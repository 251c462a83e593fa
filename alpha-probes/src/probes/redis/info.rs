//! What `INFO` says: <https://redis.io/docs/latest/commands/info/>.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::observation::{Observation, Unit};

/// How many replicas are told one by one.
const MAX_REPLICAS: usize = 100;

/// The fields of an answer to `INFO`.
#[derive(Debug)]
pub(super) struct Info<'a>(HashMap<&'a str, &'a str>);

/// How often reads found their key and how often not, within one life of a server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hits {
    hits: f64,
    misses: f64,
    run_id: String,
}

impl Hits {
    /// What was added since `earlier`; nothing where the server or its counters started anew.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let is_same =
            self.run_id == earlier.run_id && self.hits >= earlier.hits && self.misses >= earlier.misses;
        is_same.then(|| Self {
            hits: self.hits - earlier.hits,
            misses: self.misses - earlier.misses,
            run_id: self.run_id.clone(),
        })
    }

    /// The share of hits; nothing where nothing was read.
    pub(super) fn ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0.0).then(|| self.hits / reads)
    }
}

impl<'a> Info<'a> {
    pub(super) fn read(answer: &'a str) -> Self {
        let fields = answer
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(':'));
        Self(fields.collect())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).copied()
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.text(field)?.parse().ok()
    }

    fn bool(&self, field: &str) -> Option<bool> {
        self.number(field).map(|number| number != 0.0)
    }

    /// Whether a field that says `ok` or `err` says something else than `ok`.
    fn failed(&self, field: &str) -> Option<bool> {
        self.text(field).map(|said| said != "ok")
    }

    /// When the server started.
    pub(super) fn started(&self, now: Timestamp) -> Option<Timestamp> {
        let uptime = self.number("uptime_in_seconds")?;
        Timestamp::from_second(now.as_second() - uptime as i64).ok()
    }

    pub(super) fn hits(&self) -> Option<Hits> {
        Some(Hits {
            hits: self.number("keyspace_hits")?,
            misses: self.number("keyspace_misses")?,
            run_id: self.text("run_id").unwrap_or_default().to_owned(),
        })
    }

    /// Everything but the hit ratio, which needs an earlier answer.
    pub(super) fn observe(&self, now: Timestamp, database: u16) -> Observation {
        let mut observation = Observation::new();
        let mut put = |name, value: Option<f64>, unit| {
            if let Some(value) = value {
                observation.push(name, value, unit, Vec::new());
            }
        };
        let yes_or_no = |value: Option<bool>| value.map(|value| f64::from(u8::from(value)));
        let share = |used: Option<f64>, limit: Option<f64>| Some(used? / limit.filter(|limit| *limit > 0.0)?);

        put("uptime", self.number("uptime_in_seconds"), Unit::Seconds);
        put("loading", yes_or_no(self.bool("loading")), Unit::Boolean);

        let (clients, clients_max) = (self.number("connected_clients"), self.number("maxclients"));
        put("clients", clients, Unit::Count);
        put("clients_max", clients_max, Unit::Count);
        put("clients_share", share(clients, clients_max), Unit::Ratio);
        put("clients_blocked", self.number("blocked_clients"), Unit::Count);
        put(
            "rejected_connections",
            self.number("rejected_connections"),
            Unit::Count,
        );

        let memory_max = self.number("maxmemory").filter(|limit| *limit > 0.0);
        let memory_used = self.number("used_memory");
        put("memory_used", memory_used, Unit::Bytes);
        put("memory_max", memory_max, Unit::Bytes);
        put("memory_share", share(memory_used, memory_max), Unit::Ratio);
        put("evicted_keys", self.number("evicted_keys"), Unit::Count);

        put("keys", self.keys(database), Unit::Count);
        put(
            "operations",
            self.number("instantaneous_ops_per_sec"),
            Unit::PerSecond,
        );
        put("hits", self.number("keyspace_hits"), Unit::Count);
        put("misses", self.number("keyspace_misses"), Unit::Count);

        let saved = self.number("rdb_last_save_time");
        put(
            "save_age",
            saved.map(|saved| (now.as_second() as f64 - saved).max(0.0)),
            Unit::Seconds,
        );
        put(
            "unsaved_changes",
            self.number("rdb_changes_since_last_save"),
            Unit::Count,
        );
        put(
            "save_failed",
            yes_or_no(self.failed("rdb_last_bgsave_status")),
            Unit::Boolean,
        );
        let aof_enabled = self.bool("aof_enabled");
        put("aof_enabled", yes_or_no(aof_enabled), Unit::Boolean);
        let aof_failed = self
            .failed("aof_last_write_status")
            .zip(self.failed("aof_last_bgrewrite_status"))
            .map(|(write, rewrite)| aof_enabled == Some(true) && (write || rewrite));
        put("aof_failed", yes_or_no(aof_failed), Unit::Boolean);

        put("replicas", self.number("connected_slaves"), Unit::Count);
        let link = self.text("master_link_status").map(|status| status == "up");
        put("replication_connected", yes_or_no(link), Unit::Boolean);
        let heard = match link {
            Some(true) => self.number("master_last_io_seconds_ago"),
            // Negative where it was never up.
            _ => self.number("master_link_down_since_seconds"),
        };
        put(
            "replication_lag",
            heard.filter(|seconds| *seconds >= 0.0),
            Unit::Seconds,
        );

        self.add_replicas(&mut observation);
        self.add_facts(&mut observation);
        observation
    }

    /// `db0:keys=3,expires=0,avg_ttl=0`; a database without keys is not listed. Nothing is known while data is read.
    fn keys(&self, database: u16) -> Option<f64> {
        self.text("redis_version")?;
        let Some(line) = self.text(&format!("db{database}")) else {
            return Some(0.0);
        };
        field(line, "keys")?.parse().ok()
    }

    /// `slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=1`.
    fn add_replicas(&self, observation: &mut Observation) {
        let written = self.number("master_repl_offset");
        for index in 0..MAX_REPLICAS {
            let Some(line) = self.text(&format!("slave{index}")) else {
                break;
            };
            let replica = format!(
                "{}:{}",
                field(line, "ip").unwrap_or("?"),
                field(line, "port").unwrap_or("?")
            );
            let labels = vec![("replica".into(), replica)];
            let number = |key| field(line, key).and_then(|value| value.parse::<f64>().ok());
            if let Some(lag) = number("lag").filter(|lag| *lag >= 0.0) {
                observation.push("replication_lag", lag, Unit::Seconds, labels.clone());
            }
            if let Some((written, read)) = written.zip(number("offset")) {
                let behind = (written - read).max(0.0);
                observation.push("replication_lag_bytes", behind, Unit::Bytes, labels);
            }
        }
    }

    fn add_facts(&self, observation: &mut Observation) {
        for (fact, field) in [
            ("version", "redis_version"),
            ("mode", "redis_mode"),
            ("role", "role"),
            ("maxmemory_policy", "maxmemory_policy"),
        ] {
            if let Some(text) = self.text(field) {
                observation.facts.insert(fact.into(), text.into());
            }
        }
        if let (Some(host), Some(port)) = (self.text("master_host"), self.text("master_port")) {
            let primary = format!("{host}:{port}");
            observation.facts.insert("primary".into(), primary.into());
        }
    }
}

/// The value of `key` in `key=value,key=value`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split(',')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(found, value)| (found == key).then_some(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRIMARY: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:ab\r\n\
        uptime_in_seconds:100\r\n# Clients\r\nconnected_clients:9\r\nmaxclients:10\r\nblocked_clients:0\r\n\
        # Memory\r\nused_memory:950\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\nloading:0\r\n\
        rdb_changes_since_last_save:5\r\nrdb_last_save_time:940\r\nrdb_last_bgsave_status:err\r\naof_enabled:0\r\n\
        aof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n# Stats\r\ninstantaneous_ops_per_sec:3\r\n\
        rejected_connections:2\r\nevicted_keys:0\r\nkeyspace_hits:30\r\nkeyspace_misses:10\r\n# Replication\r\n\
        role:master\r\nconnected_slaves:1\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=40,lag=1\r\n\
        master_repl_offset:142\r\n# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n";

    #[test]
    fn a_primary_is_told_in_full() {
        let now = Timestamp::from_second(1000).unwrap();
        let observation = Info::read(PRIMARY).observe(now, 0);
        let lines = observation
            .measurements
            .iter()
            .map(|measurement| format!("{measurement} {}", measurement.display_value()));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
        uptime 1 min 40 s
        loading no
        clients 9
        clients_max 10
        clients_share 90 %
        clients_blocked 0
        rejected_connections 2
        memory_used 950 B
        memory_max 1 kB
        memory_share 95 %
        evicted_keys 0
        keys 3
        operations 3/s
        hits 30
        misses 10
        save_age 1 min
        unsaved_changes 5
        save_failed yes
        aof_enabled no
        aof_failed no
        replicas 1
        replication_lag{replica="10.0.0.2:6379"} 1 s
        replication_lag_bytes{replica="10.0.0.2:6379"} 102 B
        "#);
        assert_eq!(observation.facts["maxmemory_policy"], "noeviction");
        assert_eq!(Info::read(PRIMARY).observe(now, 1).value("keys"), Some(0.0));
    }

    #[test]
    fn a_replica_tells_of_its_primary() {
        let replica = |status: &str, field: &str| {
            let answer = format!(
                "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:{status}\r\n{field}\r\n"
            );
            Info::read(&answer).observe(Timestamp::UNIX_EPOCH, 0)
        };
        let well = replica("up", "master_last_io_seconds_ago:4");
        assert_eq!(well.value("replication_connected"), Some(1.0));
        assert_eq!(well.value("replication_lag"), Some(4.0));
        assert_eq!(well.facts["primary"], "10.0.0.1:6379");
        let cut_off = replica("down", "master_link_down_since_seconds:70");
        assert_eq!(cut_off.value("replication_connected"), Some(0.0));
        assert_eq!(cut_off.value("replication_lag"), Some(70.0));
        assert_eq!(
            replica("down", "master_link_down_since_seconds:-1").value("replication_lag"),
            None
        );
    }

    #[test]
    fn hits_count_within_one_life_of_the_server_only() {
        let hits = |hits, misses, run_id: &str| Hits {
            hits,
            misses,
            run_id: run_id.to_owned(),
        };
        let earlier = hits(900.0, 100.0, "a");
        assert_eq!(
            hits(901.0, 109.0, "a").since(&earlier).unwrap().ratio(),
            Some(0.1)
        );
        assert_eq!(earlier.since(&earlier).unwrap().ratio(), None);
        assert_eq!(hits(901.0, 109.0, "b").since(&earlier), None);
        assert_eq!(hits(1.0, 100.0, "a").since(&earlier), None);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(answer in "([a-z_0-9]{0,8}[:=,][-0-9a-z.,=]{0,12}\r?\n){0,20}|.{0,80}") {
            let info = Info::read(&answer);
            let _ = info.observe(Timestamp::UNIX_EPOCH, 0);
            let _ = info.started(Timestamp::UNIX_EPOCH);
        }
    }
}
