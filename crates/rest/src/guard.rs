//! Is this request meant for us, and not the work of a web page?
//!
//! Loopback is no boundary: any page in a browser on this machine can send requests here. So every
//! request must name us in `Host` (a page that has its own name resolve to us names itself), its
//! `Origin` must be ours if it has one, and a request that a page of another site makes
//! (`Sec-Fetch-Site`) is refused unless it is a link that somebody follows.

use crate::error::ApiError;
use hyper::Method;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use std::net::{IpAddr, SocketAddr};

/// Knows under which names the server may be addressed.
pub(crate) struct Guard {
    /// Where the server listens.
    bound: SocketAddr,
    /// Lower-case names, with the port that belongs to each.
    names: Vec<(String, u16)>,
}

impl Guard {
    /// `hosts` are the configured names: `host` or `host:port`.
    pub(crate) fn new(bound: SocketAddr, hosts: &[String]) -> Self {
        let names = hosts.iter().map(String::as_str).chain(["localhost"]);
        let names = names.filter_map(|host| {
            let (name, port) = split(host)?;
            // `0.0.0.0` is bound, but nobody's name.
            let named = !name.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
            named.then(|| (name, port.unwrap_or(bound.port())))
        });
        Self { bound, names: names.collect() }
    }

    /// Whether the request may go on.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), ApiError> {
        let host = self.check_host(request)?;
        check_origin(&request.headers, host)?;
        check_fetch_site(&request.method, &request.headers)
    }

    fn check_host<'a>(&self, request: &'a Parts) -> Result<&'a str, ApiError> {
        let mut hosts = request.headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(ApiError::forbidden("exactly one Host header is needed"));
        };
        let host = host.to_str().unwrap_or_default();
        // A request line with a whole URL names a host as well.
        let named = request.uri.authority().map(hyper::http::uri::Authority::as_str);
        for name in named.into_iter().chain([host]) {
            if !self.is_ours(name) {
                return Err(ApiError::forbidden(format!(
                    "Host `{name}` is not a name of this server; use http://{}, \
                     or add the name to rest.address",
                    self.bound
                )));
            }
        }
        Ok(host)
    }

    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        let port = port.unwrap_or(80);
        let known = self.names.iter().any(|(known, at)| *known == name && *at == port);
        known || (port == self.bound.port() && self.is_our_address(&name))
    }

    /// A name can be made to resolve to us by its owner; an address cannot. So a server that listens
    /// beyond loopback takes any address, one on loopback those of loopback.
    fn is_our_address(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let Ok(address) = bare.parse::<IpAddr>() else { return false };
        let beyond = !self.bound.ip().is_loopback();
        address.is_loopback() || (beyond && !address.is_unspecified())
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`: the host in lower case, and the port.
fn split(authority: &str) -> Option<(String, Option<u16>)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), ApiError> {
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let ours = origin.strip_prefix("http://").is_some_and(|o| o.eq_ignore_ascii_case(host));
        if !ours {
            return Err(ApiError::forbidden(format!(
                "requests from pages of another origin (`{origin}`) are refused"
            )));
        }
    }
    Ok(())
}

/// Browsers tell where a request comes from even where they send no `Origin`.
fn check_fetch_site(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let is = |name: &str, values: &[&str]| {
        let value = headers.get(name).map(|value| value.to_str().unwrap_or_default());
        value.is_none_or(|value| values.contains(&value))
    };
    let follows_link = method == Method::GET
        && headers.contains_key("sec-fetch-mode")
        && is("sec-fetch-mode", &["navigate"]);
    if is("sec-fetch-site", &["same-origin", "none"]) || follows_link {
        return Ok(());
    }
    Err(ApiError::forbidden("requests from pages of another site are refused"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    /// Asks a guard of a server at `bound`, with the names `flink.example` and `0.0.0.0`.
    #[track_caller]
    fn check_at(bound: &str, target: &str, headers: &[(&str, &str)], allowed: bool) {
        let hosts = ["flink.example", "0.0.0.0"].map(str::to_owned);
        let guard = Guard::new(bound.parse().expect("an address"), &hosts);
        let (method, uri) = target.split_once(' ').expect("method and target");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let result = guard.check(&parts);
        assert_eq!(result.is_ok(), allowed, "{target} {headers:?}: {result:?}");
    }

    #[track_caller]
    fn check(target: &str, headers: &[(&str, &str)], allowed: bool) {
        check_at("127.0.0.1:8081", target, headers, allowed);
    }

    #[test]
    fn only_names_of_this_server_are_taken_as_host() {
        for (host, allowed) in [
            ("localhost:8081", true),
            ("LocalHost:8081", true),
            ("127.0.0.1:8081", true),
            ("127.1.2.3:8081", true),
            ("[::1]:8081", true),
            ("flink.example:8081", true),
            ("localhost", false),
            ("localhost:8082", false),
            ("flink.example:80", false),
            ("evil.example:8081", false),
            ("localhost.evil.example:8081", false),
            ("127.0.0.1.evil.example:8081", false),
            ("localhost:8081.evil.example", false),
            ("evil.example@localhost:8081", false),
            ("0.0.0.0:8081", false),
            ("10.0.0.1:8081", false),
            ("[::1:8081", false),
            ("[::1]8081", false),
            ("localhost:", false),
            ("localhost:+8081", false),
            ("", false),
        ] {
            check("GET /jobs", &[("host", host)], allowed);
        }
    }

    #[test]
    fn host_must_be_there_once_and_agree_with_the_request_line() {
        let ours = ("host", "localhost:8081");
        check("GET /jobs", &[], false);
        check("GET /jobs", &[ours, ("host", "evil.example")], false);
        check("GET http://localhost:8081/jobs", &[ours], true);
        check("GET http://evil.example/jobs", &[ours], false);
    }

    #[test]
    fn beyond_loopback_any_address_is_taken_but_no_other_name() {
        for (host, allowed) in
            [("10.0.0.1:8081", true), ("0.0.0.0:8081", false), ("evil.example:8081", false)]
        {
            check_at("0.0.0.0:8081", "GET /jobs", &[("host", host)], allowed);
        }
    }

    #[test]
    fn an_origin_must_be_that_of_the_host() {
        let host = ("host", "localhost:8081");
        for (origin, allowed) in [
            ("http://localhost:8081", true),
            ("http://127.0.0.1:8081", false),
            ("https://localhost:8081", false),
            ("http://localhost", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            check("POST /jars/upload", &[host, ("origin", origin)], allowed);
        }
    }

    #[test]
    fn other_sites_may_link_here_but_not_fetch() {
        let host = ("host", "localhost:8081");
        let (site, mode) = ("sec-fetch-site", "sec-fetch-mode");
        check("GET /jobs", &[host, (site, "same-origin"), (mode, "cors")], true);
        check("GET /jobs", &[host, (site, "none"), (mode, "navigate")], true);
        check("GET /jobs", &[host, (site, "cross-site"), (mode, "navigate")], true);
        check("GET /jobs", &[host, (site, "cross-site"), (mode, "no-cors")], false);
        check("GET /jobs", &[host, (site, "same-site")], false);
        check("POST /jobs", &[host, (site, "cross-site"), (mode, "navigate")], false);
    }
}
