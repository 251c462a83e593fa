//! Block headers, and who made them in which slot.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use parity_scale_codec::{Compact, Decode, Encode as _};
use serde::Deserialize;

use super::hex;

/// A header as `chain_getHeader` answers it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    #[serde(default)]
    parent_hash: String,
    /// Its height, hexadecimal.
    number: String,
    #[serde(default)]
    state_root: String,
    #[serde(default)]
    extrinsics_root: String,
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

    /// The hash of the block, by the hashing that Substrate chains use (BLAKE2-256 of the encoded header).
    ///
    /// A subscription hands out headers without it. On a chain that hashes otherwise it is not the block's name, but
    /// still tells one header from another.
    pub(crate) fn hash(&self) -> Option<String> {
        let root = |text: &str| hex::decode(text).filter(|bytes| bytes.len() == 32);
        let mut bytes = root(&self.parent_hash)?;
        bytes.extend(Compact(self.number()?).encode());
        bytes.extend(root(&self.state_root)?);
        bytes.extend(root(&self.extrinsics_root)?);
        bytes.extend(Compact(u32::try_from(self.digest.logs.len()).ok()?).encode());
        for log in &self.digest.logs {
            bytes.extend(hex::decode(log)?);
        }
        Some(hex::encode(&Blake2b::<U32>::digest(bytes)))
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
    fn the_hash_of_a_real_block_is_the_one_its_node_told() {
        let header: Header = serde_json::from_str(
            r#"{"parentHash":"0x7deb0a0346a36a6070f66de59b7eacf13d114799ff2244a87cb8b5483108b056","number":"0x4",
            "stateRoot":"0x5bca58eb58899beaea2a2016dc1685b0504e44db2dcc8786d5c6eb30e6715104",
            "extrinsicsRoot":"0x899ba4554d2fb36b80f44a6e655ad264d2c07cade23ceff161ba04e8a21e5b56","digest":{"logs":[
            "0x0642414245b50103010000001a84d61100000000468f0755dc4b08b6353eb945fa716d3a05cf1809bec73c51fea2224803ff9b149d0a90b503cfaee997cf881db05a248ebbeaa35eb7117815f1e9b6984d582e0ae0aab6a6fcb4f11fcafcf924b4d441e67720b5561c9459ebdb6d2e70961d970d",
            "0x04424545468403c82e18d44098f1f58ed2da7707b89ccc63ecb0a2b4a3f9f388d24c59936eb8ca",
            "0x05424142450101b8f40e14313a391f456f9d28158613881e3daad549be84cd1dd720e1af41e06b7c0c30ef9695f4945a28079fcf26d2d6a87ff228a2ca011503689baa5996ff83"]}}"#,
        )
        .unwrap();
        assert_eq!(
            header.hash().as_deref(),
            Some("0x35efed47bef341dd4a8ed9007ae05279267a55a4af7d270b1b814ba36e18e7e9")
        );
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
