//! Names with `*` in them.

/// Whether `name` matches `pattern`, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|index| tail.is_char_boundary(*index))
                .any(|index| matches(rest, &tail[index..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("api", "api", true),
            ("api", "api-2", false),
            ("api*", "api-2", true),
            ("*2", "api-2", true),
            ("a*i*2", "api-2", true),
            ("*", "", true),
            ("b*", "api", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
