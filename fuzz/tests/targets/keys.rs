//! Published keys: the data of the config map, as a JSON object of texts.

use std::collections::BTreeMap;

use lapse_engine::attest::{KeySet, PublicKey};

fn check(bytes: &[u8]) {
    let Ok(published) = serde_json::from_slice::<BTreeMap<String, String>>(bytes) else { return };
    let (keys, errors) = KeySet::read(&published);
    assert!(errors.len() <= published.len());
    assert_eq!(keys.is_empty(), errors.len() == published.len());
    // One that cannot be read takes nothing from the others, and gives them nothing.
    let alone = |(id, text)| KeySet::read([(id, text)]).1;
    let each: Vec<_> = published.iter().flat_map(alone).collect();
    assert_eq!(each, errors);
    for text in published.values() {
        if let Ok(key) = serde_json::from_str::<PublicKey>(text) {
            let printed = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<PublicKey>(&printed).unwrap(), key);
        }
    }
}

#[test]
fn keys() {
    lapse_fuzz::fuzz!("keys", check);
}
