//! Whether a service signs blocks, judged by how it is started.
//!
//! A validator that comes back with an old database can vote twice in one round, and is slashed for it; on a chain of
//! three validators that is all of its stake (min(1, (3k/n)²), pallet-babe and pallet-grandpa). So the question is not
//! "is it surely a signer?" but "is it surely none?".

use std::fmt;

use crate::platform::Service;

/// Why a service must be taken for a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerEvidence {
    /// An argument makes it author blocks.
    Argument(String),
    /// A label says so.
    Label(String),
    /// A keystore is mounted into it.
    Keystore(String),
    /// It is a Substrate node, and nothing proves that it has no keys.
    Node(String),
}

impl fmt::Display for SignerEvidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(argument) => write!(formatter, "it is started with {argument}"),
            Self::Label(label) => write!(formatter, "its label {label} says that it signs"),
            Self::Keystore(mount) => write!(formatter, "a keystore is mounted at {mount}"),
            Self::Node(sign) => write!(
                formatter,
                "{sign} says that it is a Substrate node, which may hold session keys"
            ),
        }
    }
}

/// Arguments that make a Substrate node author blocks (`sc-cli`, `polkadot-cli`, `cumulus-client-cli`): the roles, and
/// the development accounts, each of which implies `--validator`.
const SIGNING_ARGUMENTS: [&str; 13] = [
    "--validator",
    "--collator",
    "--force-authoring",
    "--dev",
    "--alice",
    "--bob",
    "--charlie",
    "--dave",
    "--eve",
    "--ferdie",
    "--one",
    "--two",
    "--keystore-path",
];

/// Arguments that only a Substrate node has, and that alone do not make it sign.
const NODE_ARGUMENTS: [&str; 8] = [
    "--node-key-file",
    "--node-key",
    "--rpc-methods",
    "--bootnodes",
    "--telemetry-url",
    "--state-pruning",
    "--blocks-pruning",
    "--reserved-nodes",
];

/// The label by which a person says that a service signs: `alpha.signer=true`.
///
/// `alpha.signer=false` is not believed: a label outlives the keys that are added later.
const SIGNER_LABEL: &str = "alpha.signer";

impl SignerEvidence {
    /// The first reason to take `service` for a signer; none where there is no sign of a Substrate node at all.
    pub fn of(service: &Service) -> Option<Self> {
        Self::labelled(service)
            .or_else(|| Self::argued(service))
            .or_else(|| Self::mounted(service))
            .or_else(|| Self::node(service))
    }

    fn labelled(service: &Service) -> Option<Self> {
        let says_so = service
            .labels
            .get(SIGNER_LABEL)
            .is_some_and(|value| value == "true");
        says_so.then(|| Self::Label(SIGNER_LABEL.to_owned()))
    }

    /// Arguments may hide in one string for a shell, and in environment variables that an entry point adds to them.
    fn argued(service: &Service) -> Option<Self> {
        let find = |names: &[&str]| {
            words(service)
                .find(|word| names.contains(&word.split('=').next().unwrap_or_default()))
                .map(str::to_owned)
        };
        find(&SIGNING_ARGUMENTS)
            .map(|word| Self::Argument(word.split('=').next().unwrap_or_default().to_owned()))
    }

    fn mounted(service: &Service) -> Option<Self> {
        let is_keystore = |mount: &&String| mount.trim_end_matches('/').ends_with("keystore");
        service
            .mounts
            .iter()
            .find(is_keystore)
            .map(|mount| Self::Keystore(mount.clone()))
    }

    fn node(service: &Service) -> Option<Self> {
        let argument = words(service).map(|word| word.split('=').next().unwrap_or_default());
        let argument = argument
            .into_iter()
            .find(|word| NODE_ARGUMENTS.contains(word))
            .map(str::to_owned);
        let named = [&service.name, &service.image].into_iter().find(|name| {
            let name = name.to_ascii_lowercase();
            [
                "validator",
                "collator",
                "substrate",
                "polkadot",
                "kusama",
                "parachain",
            ]
            .iter()
            .any(|word| name.contains(word))
        });
        let program = service.command.iter().find(|word| {
            let program = word.rsplit('/').next().unwrap_or_default();
            [
                "polkadot",
                "substrate",
                "solochain-template-node",
                "parachain-template-node",
            ]
            .iter()
            .any(|name| program.starts_with(name))
        });
        argument
            .map(|argument| format!("the argument {argument}"))
            .or_else(|| named.map(|name| format!("the name {name}")))
            .or_else(|| program.map(|_| "its program".to_owned()))
            .map(Self::Node)
    }
}

fn words(service: &Service) -> impl Iterator<Item = &str> {
    let arguments = service.command.iter();
    arguments
        .chain(service.environment.0.values())
        .flat_map(|text| text.split_whitespace())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_web_service_is_no_signer() {
        let api = Service {
            image: "alpha-api:1.4".to_owned(),
            ..Service::new("alpha-api")
        }
        .with_command(["gunicorn", "--bind", "0.0.0.0:5000", "app:app"]);
        assert_eq!(SignerEvidence::of(&api), None);
    }

    #[test]
    fn a_signer_is_known_by_any_of_its_signs() {
        let argument = |word: &str| Some(SignerEvidence::Argument(word.to_owned()));
        let service = Service::new("node");
        assert_eq!(
            SignerEvidence::of(&service.clone().with_command(["x", "--validator"])),
            argument("--validator")
        );
        assert_eq!(
            SignerEvidence::of(&service.clone().with_command(["sh", "-c", "exec x --alice --tmp"])),
            argument("--alice")
        );
        let mut by_environment = service.clone();
        by_environment
            .environment
            .0
            .insert("ARGS".to_owned(), "--name v1 --validator".to_owned());
        assert_eq!(SignerEvidence::of(&by_environment), argument("--validator"));
        let mut by_mount = service.clone();
        by_mount.mounts.push("/data/chains/alpha/keystore/".to_owned());
        assert!(matches!(
            SignerEvidence::of(&by_mount),
            Some(SignerEvidence::Keystore(_))
        ));
        let mut by_label = service.clone();
        by_label
            .labels
            .insert("alpha.signer".to_owned(), "true".to_owned());
        assert!(matches!(
            SignerEvidence::of(&by_label),
            Some(SignerEvidence::Label(_))
        ));
        assert!(matches!(
            SignerEvidence::of(&Service::new("alpha-validator-1")),
            Some(SignerEvidence::Node(_))
        ));
        let rpc = service.with_command(["/usr/bin/polkadot-omni-node", "--chain", "x.json"]);
        assert!(matches!(SignerEvidence::of(&rpc), Some(SignerEvidence::Node(_))));
    }

    proptest! {
        #[test]
        fn no_company_of_other_words_hides_a_signing_argument(
            mut words in proptest::collection::vec("[ -~]{0,20}", 0..8),
            position in 0usize..8,
            argument in proptest::sample::select(SIGNING_ARGUMENTS.to_vec()),
        ) {
            words.insert(position.min(words.len()), argument.to_owned());
            let service = Service::new("x").with_command(words);
            prop_assert!(SignerEvidence::of(&service).is_some());
        }
    }
}
