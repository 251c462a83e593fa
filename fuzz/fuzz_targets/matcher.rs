//! Any text is read as matchers or refused without a panic; what was read, written and read again means the same.

#![no_main]

use alpha_alerts::matcher::{Matcher, parse_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    if let Ok(matcher) = Matcher::parse(source) {
        let again = Matcher::parse(&matcher.to_string());
        assert_eq!(again.ok().as_ref(), Some(&matcher), "{source}");
    }
    let Ok(matchers) = parse_list(source) else {
        return;
    };
    let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    let again = parse_list(&format!("{{{}}}", texts.join(",")));
    assert_eq!(again.ok(), Some(matchers.clone()), "{source}");
    for matcher in &matchers {
        for value in ["", "a", "P0", "a\nb", "节点", source] {
            matcher.matches_value(value);
        }
    }
});
