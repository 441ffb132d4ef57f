//! Query parameters. A name may come several times; unknown names are ignored, as in Flink.

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use hyper::http::request::Parts;
use std::convert::Infallible;
use std::str::FromStr;

/// The decoded query of a request.
#[derive(Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse_text(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The value of a parameter that makes sense once only.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter as a number, a truth value or an id.
    pub(crate) fn parse<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let text = self.text(name);
        text.map(|text| text.parse().map_err(|_| ApiError::bad_query(name, text))).transpose()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.uri.query().map_or_else(Self::default, Self::parse_text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse_text("a=1&b=x%2Cy+z&a=2&c");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.text("b"), Some("x,y z"));
        assert_eq!(query.text("c"), Some(""));
        assert_eq!(query.parse::<u32>("a"), Ok(Some(1)));
        assert_eq!(query.parse::<u32>("d"), Ok(None));
        assert!(query.parse::<u32>("b").is_err());
    }
}
