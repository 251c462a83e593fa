//! What changes and what stands still, as far as it was watched.
//!
//! The clock of this is monotonic: it is right where block timestamps are not to be believed.

use std::time::Duration;

use tokio::time::Instant;

/// One value and since when it is what it is.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    value: Option<T>,
    since: Option<Instant>,
    has_changed: bool,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self {
            value: None,
            since: None,
            has_changed: false,
        }
    }
}

impl<T: PartialEq> Watched<T> {
    /// Takes a look at `now`; tells whether the value is another than at the look before.
    pub(crate) fn see(&mut self, value: T, now: Instant) -> bool {
        if self.value.as_ref() == Some(&value) {
            return false;
        }
        let is_change = self.value.replace(value).is_some();
        self.since = Some(now);
        self.has_changed |= is_change;
        is_change
    }

    /// For how long the value has been seen unchanged; a lower bound until it changed for the first time.
    pub(crate) fn flat_for(&self, now: Instant) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether it was ever seen to change, so that [`Watched::flat_for`] is exact and no lower bound.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// The value at the last look.
    pub(crate) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

/// How long something has been so without a break.
#[derive(Debug, Default)]
pub(crate) struct Spell(Option<Instant>);

impl Spell {
    /// Takes a look at `now` and tells for how long it has been so; zero where it is not, and at the first look.
    pub(crate) fn see(&mut self, is_so: bool, now: Instant) -> Duration {
        if !is_so {
            self.0 = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.0.get_or_insert(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_value_is_flat_since_it_was_first_seen_so() {
        let mut watched = Watched::default();
        assert!(!watched.see(1, Instant::now()));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(!watched.see(1, Instant::now()));
        assert_eq!(watched.flat_for(Instant::now()), Duration::from_secs(5));
        assert!(!watched.has_changed());
        assert!(watched.see(2, Instant::now()));
        assert_eq!(watched.flat_for(Instant::now()), Duration::ZERO);
        assert!(watched.has_changed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_spell_ends_when_it_is_not_so() {
        let mut spell = Spell::default();
        assert_eq!(spell.see(true, Instant::now()), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(spell.see(true, Instant::now()), Duration::from_secs(9));
        assert_eq!(spell.see(false, Instant::now()), Duration::ZERO);
        assert_eq!(spell.see(true, Instant::now()), Duration::ZERO);
    }
}
