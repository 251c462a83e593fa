//! Where a chain keeps what, and of what type it is.

use std::hash::Hasher as _;

use frame_metadata::v14::{PalletStorageMetadata, StorageEntryType};
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};
use parity_scale_codec::Decode;
use scale_info::PortableRegistry;
use scale_info::form::PortableForm;
use scale_value::{Composite, Primitive, Value, ValueDef};
use twox_hash::XxHash64;

/// The storage key of an item: the hash of its pallet's name and the hash of its own.
pub(crate) fn item_key(pallet: &str, item: &str) -> Vec<u8> {
    let mut key = twox_128(pallet.as_bytes()).to_vec();
    key.extend(twox_128(item.as_bytes()));
    key
}

/// The storage key of an entry of a map whose keys are hashed by `Twox64Concat`.
pub(crate) fn map_key(pallet: &str, item: &str, key: &[u8]) -> Vec<u8> {
    let mut full = item_key(pallet, item);
    full.extend(twox_64(key, 0));
    full.extend(key);
    full
}

fn twox_64(bytes: &[u8], seed: u64) -> [u8; 8] {
    let mut hasher = XxHash64::with_seed(seed);
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

fn twox_128(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&twox_64(bytes, 0));
    hash[8..].copy_from_slice(&twox_64(bytes, 1));
    hash
}

/// What a runtime tells about its pallets.
#[derive(Debug)]
pub(crate) struct Metadata {
    types: PortableRegistry,
    pallets: Vec<(String, Option<PalletStorageMetadata<PortableForm>>)>,
}

/// Whether a runtime has a storage item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has, with values of the type of this number.
    Item(u32),
    /// It has the pallet, but the pallet keeps no such item.
    NoItem,
    /// It has no such pallet.
    NoPallet,
}

impl Metadata {
    /// Reads the answer of `state_getMetadata`; versions before 14 carry no types and are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let RuntimeMetadataPrefixed(_, metadata) = Decode::decode(&mut &*bytes).ok()?;
        let RuntimeMetadata::V14(metadata) = metadata else {
            return None;
        };
        Some(Self {
            types: metadata.types,
            pallets: metadata
                .pallets
                .into_iter()
                .map(|pallet| (pallet.name, pallet.storage))
                .collect(),
        })
    }

    /// Whether the runtime keeps `item` in `pallet`.
    pub(crate) fn presence(&self, pallet: &str, item: &str) -> Presence {
        let Some((_, storage)) = self.pallets.iter().find(|(name, _)| name == pallet) else {
            return Presence::NoPallet;
        };
        let mut entries = storage.iter().flat_map(|storage| &storage.entries);
        match entries.find(|entry| entry.name == item).map(|entry| &entry.ty) {
            Some(StorageEntryType::Plain(value) | StorageEntryType::Map { value, .. }) => {
                Presence::Item(value.id)
            }
            None => Presence::NoItem,
        }
    }

    /// Decodes a value of the type of that number.
    pub(crate) fn value(&self, kind: u32, bytes: &[u8]) -> Option<Value<u32>> {
        scale_value::scale::decode_as_type(&mut &*bytes, kind, &self.types).ok()
    }
}

/// The first number in each element of a list: `[3, 7]` as well as `[(3, Severity), (7, Severity)]`.
///
/// Runtimes keep the indices of disabled validators in either shape, depending on their age.
pub(crate) fn leading_numbers(list: &Value<u32>) -> Option<Vec<u128>> {
    let ValueDef::Composite(elements) = &list.value else {
        return None;
    };
    elements.values().map(leading_number).collect()
}

fn leading_number(value: &Value<u32>) -> Option<u128> {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => Some(*number),
        ValueDef::Composite(Composite::Unnamed(fields)) => leading_number(fields.first()?),
        ValueDef::Composite(Composite::Named(fields)) => leading_number(&fields.first()?.1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    #[test]
    fn keys_are_those_read_back_from_real_chains() {
        for (pallet, item, key) in [
            (
                "Session",
                "Validators",
                "0xcec5070d609dd3497f72bde07fc96ba088dcde934c658227ee1dfafcd6e16903",
            ),
            (
                "Timestamp",
                "Now",
                "0xf0c365c3cf59d671eb72da0e7a4113c49f1f0515f462cdcf84e0f1d6045dfcbb",
            ),
            (
                "System",
                "AuthorizedUpgrade",
                "0x26aa394eea5630e07c48ae0c9558cef72fa9f1bf25567808771bff091dc89ecd",
            ),
            (
                "ParachainSystem",
                "PendingValidationCode",
                "0x45323df7cc47150b3930e2666b0aa31390d171f8401887cf06fb43a732994c32",
            ),
            (
                "Session",
                "DisabledValidators",
                "0xcec5070d609dd3497f72bde07fc96ba05a9a74be4a5a7df60b01a6c0326c5e20",
            ),
        ] {
            assert_eq!(hex::encode(&item_key(pallet, item)), key);
        }
        let entry = map_key("Session", "NextKeys", &[1; 32]);
        assert!(
            hex::encode(&entry)
                .starts_with("0xcec5070d609dd3497f72bde07fc96ba04c014e6bf8b8c2c011e7290b85696bb3")
        );
        assert_eq!(entry.len(), 32 + 8 + 32);
        assert!(entry.ends_with(&[1; 32]));
    }

    #[test]
    fn disabled_validators_are_read_in_both_shapes() {
        let number = |number| Value::with_context(ValueDef::Primitive(Primitive::U128(number)), 0);
        let tuple =
            |fields: Vec<Value<u32>>| Value::with_context(ValueDef::Composite(Composite::Unnamed(fields)), 0);
        let plain = tuple(vec![number(3), number(7)]);
        let severe = tuple(vec![
            tuple(vec![number(3), number(1)]),
            tuple(vec![number(7), number(2)]),
        ]);
        assert_eq!(leading_numbers(&plain), Some(vec![3, 7]));
        assert_eq!(leading_numbers(&severe), Some(vec![3, 7]));
        assert_eq!(leading_numbers(&number(3)), None);
    }
}
