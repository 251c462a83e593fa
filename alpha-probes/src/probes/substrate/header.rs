//! Block headers, and who made them in which slot.

use parity_scale_codec::Decode;
use serde::Deserialize;

use super::hex;

/// A header as `chain_getHeader` answers it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    /// Its height, hexadecimal.
    number: String,
    digest: HeaderDigest,
}

#[derive(Clone, Debug, Deserialize)]
struct HeaderDigest {
    logs: Vec<String>,
}

/// Who made a block, as far as its header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The slot, counted since 1970 in slot durations.
    pub(crate) slot: u64,
    /// The place of the author in the list of authorities; Aura leaves it to arithmetic.
    pub(crate) author: Option<u32>,
    /// Whether the slot was won by lot and not assigned.
    pub(crate) is_primary: bool,
}

impl Header {
    /// The height.
    pub(crate) fn number(&self) -> Option<u64> {
        u64::from_str_radix(self.number.strip_prefix("0x")?, 16).ok()
    }

    /// The slot and the author, where the header carries a claim of BABE or Aura.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.digest.logs.iter().find_map(|log| claim(&hex::decode(log)?))
    }
}

/// Reads one digest: `0x06`, the engine, and what the engine wrote before the block was run.
fn claim(log: &[u8]) -> Option<Claim> {
    let (engine, mut data) = log.strip_prefix(&[6])?.split_at_checked(4)?;
    let payload = Vec::<u8>::decode(&mut data).ok()?;
    match engine {
        b"BABE" => {
            let (variant, author, slot) = <(u8, u32, u64)>::decode(&mut payload.as_slice()).ok()?;
            (1..=3).contains(&variant).then_some(Claim {
                slot,
                author: Some(author),
                is_primary: variant == 1,
            })
        }
        b"aura" => Some(Claim {
            slot: u64::decode(&mut payload.as_slice()).ok()?,
            author: None,
            is_primary: false,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_real_nodes_tell_slot_and_author() {
        let babe: Header = serde_json::from_str(
            r#"{"parentHash":"0x12","number":"0x11","stateRoot":"0x","extrinsicsRoot":"0x","digest":{"logs":[
            "0x0642414245b501030100000009fcd511000000007455d4a3dfc300057195d9eeb5816b8868103eb158168d6b2ba395204c37da5be493210a1c06a2db37ac1f7c2326cb52b2923fc5c53a8b41dfd754c2262b1a02cf369ba9194af9768716de085cc122d306acb69bf199c3d30a573b7e486d5808",
            "0x04424545468403ce57cf69fd8bc15013fdd790a687e102b156de3c21b61b1d3054aa314cd03c32"]}}"#,
        )
        .unwrap();
        assert_eq!(babe.number(), Some(17));
        let claim = Claim {
            slot: 299_236_361,
            author: Some(1),
            is_primary: false,
        };
        assert_eq!(babe.claim(), Some(claim));

        let aura: Header = serde_json::from_str(
            r#"{"parentHash":"0xf7","number":"0x78","digest":{"logs":["0x0661757261201afcea0800000000"]}}"#,
        )
        .unwrap();
        assert_eq!(aura.claim().unwrap().slot, 149_617_690);
    }

    #[test]
    fn a_digest_that_is_cut_short_is_no_claim() {
        let whole = hex::decode("0x0661757261201afcea0800000000").unwrap();
        assert!(claim(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(claim(&whole[..length]), None);
        }
    }
}
