//! One option: declared once, beside nothing else; readers, the reference page and the check for
//! unknown keys all follow from it.

/// A key with its type, default and meaning.
pub struct ConfigOption<T: 'static> {
    /// Flink's name for it.
    pub key: &'static str,
    /// Keys that are read when this one is not set: deprecated names, more general options.
    pub fallback_keys: &'static [&'static str],
    /// Used when nothing is set.
    pub default: fn() -> T,
    /// The default as people write it.
    pub default_text: &'static str,
    /// Reads the text; an error says what was expected.
    pub read: fn(&str) -> Result<T, String>,
    /// What it means, in a sentence.
    pub doc: &'static str,
}
