//! The exit codes of all commands, in one table.

use std::fmt;

use alpha_probes::Status;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// Done; for `check`: everything is ok.
    pub const SUCCESS: Self = Self(0);
    /// `check`: the worst is a warning.
    pub const WARNING: Self = Self(1);
    /// `check`: something is critical.
    pub const CRITICAL: Self = Self(2);
    /// `check`: the worst is unknown, or the check itself could not run.
    pub const UNKNOWN: Self = Self(3);
    /// Every other command: the arguments or the configuration are wrong, or it could not do its work.
    pub const USAGE: Self = Self(2);
    /// Every other command: it ran and what it looked at is not good; for `bench`: a breach, for `oncall`: a gap.
    pub const FINDING: Self = Self(1);
    /// `bench`: there is too little evidence for a verdict.
    pub const UNDECIDED: Self = Self(3);
    /// `bench`: the load generator itself was the limit, so that the figures say nothing about the target.
    pub const SATURATED: Self = Self(4);

    /// The number the shell sees.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// One row of the table in the reference: commands, code, meaning.
pub struct Meaning {
    /// Which commands end so.
    pub commands: &'static str,
    /// The code.
    pub exit: Exit,
    /// What it says.
    pub meaning: &'static str,
}

/// The documented table; `docs/reference/exit-codes.md` is made from it.
pub const TABLE: &[Meaning] = &[
    Meaning {
        commands: "check, watch",
        exit: Exit::SUCCESS,
        meaning: "every check is ok",
    },
    Meaning {
        commands: "check, watch",
        exit: Exit::WARNING,
        meaning: "the worst check is a warning",
    },
    Meaning {
        commands: "check, watch",
        exit: Exit::CRITICAL,
        meaning: "at least one check is critical",
    },
    Meaning {
        commands: "check, watch",
        exit: Exit::UNKNOWN,
        meaning: "nothing is critical but something could not be found out, or the arguments or the configuration are wrong",
    },
    Meaning {
        commands: "all others",
        exit: Exit::SUCCESS,
        meaning: "done",
    },
    Meaning {
        commands: "all others",
        exit: Exit::FINDING,
        meaning: "it ran, and what it looked at is not good (bench: a breach; oncall now, oncall gaps: a time with nobody on duty)",
    },
    Meaning {
        commands: "all others",
        exit: Exit::USAGE,
        meaning: "the arguments or the configuration are wrong, or the command could not do its work",
    },
    Meaning {
        commands: "bench",
        exit: Exit::UNDECIDED,
        meaning: "too little evidence for a verdict",
    },
    Meaning {
        commands: "bench",
        exit: Exit::SATURATED,
        meaning: "the load generator was the limit: the figures say nothing about the target",
    },
];

impl From<Status> for Exit {
    /// The convention of monitoring plugins.
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::SUCCESS,
            Status::Warning => Self::WARNING,
            Status::Critical => Self::CRITICAL,
            Status::Unknown => Self::UNKNOWN,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
