//! Accounts and how people write them.

use std::fmt;

use blake2::{Blake2b512, Digest as _};

/// The 32 bytes that name an account or a public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Account(pub(crate) [u8; 32]);

/// The network prefix of addresses that belong to no particular chain.
pub(crate) const GENERIC_PREFIX: u16 = 42;

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.address(GENERIC_PREFIX))
    }
}

impl Account {
    /// Reads an address of any network, or `0x` and 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(bytes) = super::hex::decode(text) {
            return bytes.try_into().ok().map(Self);
        }
        let bytes = bs58::decode(text).into_vec().ok()?;
        let prefix_length = match bytes.first()? {
            0..=63 => 1,
            64..=127 => 2,
            _ => return None,
        };
        let (body, checksum) = bytes.split_at_checked(prefix_length + 32)?;
        if checksum.len() != 2 || checksum != &digest(body)[..2] {
            return None;
        }
        body[prefix_length..].try_into().ok().map(Self)
    }

    /// The address in the network of that prefix (SS58, <https://docs.polkadot.com/reference/parachains/accounts/>).
    pub(crate) fn address(&self, prefix: u16) -> String {
        let mut bytes = if prefix < 64 {
            vec![prefix as u8]
        } else {
            let first = ((prefix & 0b0000_0000_1111_1100) as u8) >> 2;
            let second = ((prefix >> 8) as u8) | ((prefix & 0b11) as u8) << 6;
            vec![first | 0b0100_0000, second]
        };
        bytes.extend(self.0);
        let checksum = digest(&bytes);
        bytes.extend(&checksum[..2]);
        bs58::encode(bytes).into_string()
    }
}

fn digest(body: &[u8]) -> [u8; 64] {
    Blake2b512::new()
        .chain_update(b"SS58PRE")
        .chain_update(body)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The well-known development account Alice, in three networks and as bytes.
    const ALICE: [&str; 4] = [
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
        "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
        "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F",
        "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
    ];

    #[test]
    fn one_account_has_an_address_in_every_network() {
        let accounts = ALICE.map(|address| Account::parse(address).unwrap());
        assert!(accounts.iter().all(|account| *account == accounts[0]));
        for (address, prefix) in ALICE.iter().zip([42, 0, 2]) {
            assert_eq!(accounts[0].address(prefix), *address);
        }
    }

    #[test]
    fn a_prefix_of_two_bytes_survives_the_round_trip() {
        for prefix in [64, 255, 1284, 16_383] {
            let account = Account([7; 32]);
            assert_eq!(Account::parse(&account.address(prefix)), Some(account));
        }
    }

    #[test]
    fn an_address_with_a_typing_error_is_none() {
        for wrong in [
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKut",
            "0xd435",
            "alice",
            "",
        ] {
            assert_eq!(Account::parse(wrong), None, "{wrong}");
        }
    }
}
