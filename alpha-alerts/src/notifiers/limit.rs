//! How much a receiver takes, and cutting text down to it.

use super::markup::Dialect;

/// What a cut text ends in.
pub(crate) const ELLIPSIS: &str = "…";

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// In bytes of UTF-8.
    Bytes(usize),
    /// In characters. Counted as UTF-16 units, because services that count characters differ only in what lies beyond the
    /// basic plane, and this count is never the smaller one.
    Characters(usize),
}

impl Limit {
    /// How long `text` is in the unit of the limit.
    pub(crate) fn measure(self, text: &str) -> usize {
        match self {
            Self::Bytes(_) => text.len(),
            Self::Characters(_) => text.encode_utf16().count(),
        }
    }

    fn size(self) -> usize {
        match self {
            Self::Bytes(size) | Self::Characters(size) => size,
        }
    }

    /// Whether `text` may be sent.
    pub(crate) fn admits(self, text: &str) -> bool {
        self.measure(text) <= self.size()
    }

    /// What is left of the limit beside `text`.
    pub(crate) fn less(self, text: &str) -> Self {
        let used = self.measure(text);
        match self {
            Self::Bytes(size) => Self::Bytes(size.saturating_sub(used)),
            Self::Characters(size) => Self::Characters(size.saturating_sub(used)),
        }
    }

    /// As much of `text`, which has no markup, as fits once it is escaped; a cut is visible.
    pub(crate) fn cut(self, text: &str, dialect: Dialect) -> String {
        let whole = dialect.with_line_breaks(dialect.escape(text));
        if self.admits(&whole) {
            return whole;
        }
        let room = self.less(ELLIPSIS).size();
        let (mut out, mut used) = (String::new(), 0);
        let mut piece = String::new();
        for character in text.chars() {
            piece.clear();
            dialect.escape_char(character, &mut piece);
            let piece = dialect.with_line_breaks(std::mem::take(&mut piece));
            let length = self.measure(&piece);
            if used + length > room {
                break;
            }
            used += length;
            out.push_str(&piece);
        }
        out.truncate(out.trim_end().len());
        if self.admits(ELLIPSIS) {
            out.push_str(ELLIPSIS);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_at_a_character_boundary() {
        assert_eq!(Limit::Bytes(12).cut("区块链停止出块", Dialect::Plain), "区块链…");
        assert_eq!(Limit::Bytes(11).cut("区块链停止出块", Dialect::Plain), "区块…");
        assert_eq!(
            Limit::Bytes(21).cut("区块链停止出块", Dialect::Plain),
            "区块链停止出块"
        );
        assert_eq!(Limit::Bytes(2).cut("区块链", Dialect::Plain), "");
    }

    #[test]
    fn characters_beyond_the_basic_plane_count_twice() {
        assert_eq!(Limit::Characters(4).cut("🔥🔥🔥", Dialect::Plain), "🔥…");
        assert_eq!(Limit::Characters(6).cut("🔥🔥🔥", Dialect::Plain), "🔥🔥🔥");
    }

    #[test]
    fn an_escaped_character_is_never_cut_in_two() {
        for size in 0..40 {
            let cut = Limit::Bytes(size).cut("&&&&&&", Dialect::Html);
            assert!(cut.len() <= size);
            assert_eq!(cut.matches('&').count(), cut.matches(';').count(), "{cut}");
        }
    }
}
