//! What the alerts' side says, as a text of the probes' side, which is what commands fail with.

use alpha_alerts::text::Argument as Theirs;
use alpha_probes::Text;
use alpha_probes::text::Argument;

/// The same words, still translatable.
pub(crate) fn reworded(text: &alpha_alerts::Text) -> Text {
    let arguments = text.arguments().iter();
    let arguments = arguments.map(|(name, argument)| (*name, reworded_argument(argument)));
    Text::new(text.template(), arguments.collect())
}

fn reworded_argument(argument: &Theirs) -> Argument {
    match argument {
        Theirs::Plain(value) => Argument::Plain(value.clone()),
        Theirs::Text(text) => Argument::Text(reworded(text)),
        Theirs::List(texts) => Argument::List(texts.iter().map(reworded).collect()),
    }
}

/// What an error of the alerts' side says, its causes included.
pub(crate) fn alerts_error(error: &alpha_alerts::Error) -> Text {
    reworded(&error.to_text())
}

#[cfg(test)]
mod tests {
    use alpha_alerts::text;

    use super::*;

    #[test]
    fn every_word_survives() {
        let text = text!(
            "{a} and {b}: {c}",
            a = "x",
            b = text!("the {d}", d = 1),
            c = vec![text!("one"), text!("two")]
        );
        assert_eq!(reworded(&text).to_string(), text.to_string());
    }
}
