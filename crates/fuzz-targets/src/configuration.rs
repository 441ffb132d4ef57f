//! The configuration file, which people write.

use crate::limits::within;
use millstream_core::config::{Configuration, catalog, value};
use millstream_host::configuration::{KEY_BYTES_MAX, parse};

/// A key is written once and stands before each of the values below it.
const PER_BYTE: usize = KEY_BYTES_MAX;

/// A file, and the values in it.
pub(crate) fn config_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(configuration) = within(bytes.len(), PER_BYTE, || parse(text)) else { return false };
    for (key, text) in &configuration.0 {
        assert!(!key.is_empty() && key.len() <= KEY_BYTES_MAX);
        let _ = (value::millis(text), value::bytes(text), value::port(text), value::count(text));
        let _ = (value::limit(text), value::boolean(text), value::directories(text));
    }
    let _ = configuration.get(&catalog::REST_PORT);
    let unknown = configuration.unknown();
    assert!(unknown.len() <= configuration.0.len());
    let masked: Vec<_> = configuration.masked().collect();
    assert_eq!(masked.len(), configuration.0.len());
    configuration != Configuration::default()
}
