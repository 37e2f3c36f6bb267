//! Who may ask: host, origin and token, judged before anything else of a request.
//!
//! A server on a loopback address is reached by every web page that the machine's user opens. A page
//! cannot forge `Host` and `Origin`, so these two decide: a page whose name was pointed at this
//! machine sends the wrong host (DNS rebinding), and a page from elsewhere sends its origin.

mod failures;

pub(crate) use failures::network;

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use crate::config::Token;
use crate::wire::{Code, Problem};
use failures::Failures;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names, origins and tokens that this server knows.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    origins: Vec<HeaderValue>,
    token: Option<Token>,
    admin_token: OnceLock<Token>,
    failures: Failures,
}

/// What a request needs a token for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Nothing: whether the server is alive.
    Open,
    /// Data and figures: a token if one is configured.
    Data,
    /// What burdens or changes the server: always a token.
    Admin,
}

impl Scope {
    /// The scope of a raw path. It is decided before the path is routed, so that a path without a
    /// route is guarded like any other.
    pub(crate) fn of(path: &str) -> Scope {
        match path {
            "/healthz" | "/readyz" => Scope::Open,
            _ if path.starts_with("/v1/admin/") || path.starts_with("/v1/jobs/") => Scope::Admin,
            _ => Scope::Data,
        }
    }
}

impl Guard {
    /// A guard for the address that was bound, and for further names and origins.
    pub(crate) fn new(
        bound: SocketAddr,
        allow_host: &[String],
        allow_origin: &[String],
        token: Option<Token>,
    ) -> Guard {
        let mut hosts = Vec::new();
        let mut names: Vec<String> =
            ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        if !bound.ip().is_unspecified() {
            names.push(match bound.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            });
        }
        names.extend(allow_host.iter().cloned());
        for name in names {
            let host = match has_port(&name) {
                true => name,
                false => format!("{name}:{}", bound.port()),
            };
            // A client leaves the port out where it is the scheme's own: HTTP's, or that of a proxy
            // that speaks TLS and hands the host on as it came.
            hosts.extend(
                [":80", ":443"]
                    .iter()
                    .filter_map(|port| host.strip_suffix(port))
                    .map(str::to_owned),
            );
            hosts.push(host);
        }
        let origins = allow_origin
            .iter()
            .map(|origin| HeaderValue::from_str(origin).expect("the configuration checked origins"))
            .collect();
        Guard { hosts, origins, token, admin_token: OnceLock::new(), failures: Failures::default() }
    }

    /// Sets the token of the admin routes, for a server that has no other.
    pub(crate) fn set_admin_token(&self, token: Token) {
        // The first one stays, and there is only one start.
        let _ = self.admin_token.set(token);
    }

    /// Checks that the request is for this server: one `Host`, and it is ours.
    pub(crate) fn check_host(&self, head: &Parts) -> Result<(), Problem> {
        let refuse = |why: &str| Err(Problem::new(Code::MisdirectedHost, why));
        let mut hosts = head.headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return refuse("the request must have one Host");
        };
        if !self.knows(host.as_bytes()) {
            return refuse("this server does not answer for that host; see --allow-host");
        }
        // A target in absolute form names a host of its own, which must be ours as well.
        match head.uri.authority() {
            Some(authority) if !self.knows(authority.as_str().as_bytes()) => {
                refuse("this server does not answer for the host of the request target")
            }
            _ => Ok(()),
        }
    }

    /// Checks where a web page that sent this comes from, if one did. Returns the configured origin
    /// that may read the answer.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let allowed = match (origins.next(), origins.next()) {
            (None, _) => None,
            (Some(origin), None) => self.origins.iter().find(|allowed| *allowed == origin),
            (Some(_), Some(_)) => return Err(forbidden()),
        };
        let is_foreign = headers.contains_key(ORIGIN)
            || headers
                .get_all(SEC_FETCH_SITE)
                .iter()
                .any(|site| site != "same-origin" && site != "none");
        match allowed {
            None if is_foreign => Err(forbidden()),
            allowed => Ok(allowed.cloned()),
        }
    }

    /// Checks the token, where the scope needs one.
    pub(crate) fn check_token(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        scope: Scope,
    ) -> Result<(), Problem> {
        let token = match (scope, &self.token) {
            (Scope::Open, _) | (Scope::Data, None) => return Ok(()),
            (Scope::Data | Scope::Admin, Some(token)) => Some(token),
            (Scope::Admin, None) => self.admin_token.get(),
        };
        // A right token is right however many wrong ones came from its address: behind a proxy all
        // clients have one address, and no guess at 16 bytes succeeds for being made often.
        let guess = bearer(headers);
        if token.zip(guess).is_some_and(|(token, guess)| token.is(guess)) {
            return Ok(());
        }
        if self.failures.is_blocked(peer) {
            let detail = "too many attempts without the right token";
            return Err(Problem::new(Code::Unauthorized, detail)
                .with_status(429)
                .with_retry_after_ms(1000));
        }
        self.failures.note(peer);
        Err(Problem::new(Code::Unauthorized, "send the token as Authorization: Bearer"))
    }

    fn knows(&self, host: &[u8]) -> bool {
        self.hosts.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(host))
    }
}

fn forbidden() -> Problem {
    Problem::new(Code::ForbiddenOrigin, "web pages of other origins are not served")
}

/// Whether a host ends in a port. The colons of a bare IPv6 address are inside of brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty()
    })
}

/// The token that a request carries: of one `Authorization` header, and of nowhere else.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;
    use hyper::Request;

    const TOKEN: &str = "0123456789abcdef";

    fn guard(bound: &str) -> Guard {
        let token = Token::new(TOKEN, "test").unwrap();
        Guard::new(
            bound.parse().unwrap(),
            &["db.example".into(), "proxy.example:444".into()],
            &["https://ui.example".into()],
            Some(token),
        )
    }

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let guard = guard("192.0.2.7:8080");
        for host in [
            "localhost:8080",
            "LocalHost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.7:8080",
            "db.example:8080",
            "proxy.example:444",
        ] {
            assert!(guard.check_host(&head("/", &[("host", host)])).is_ok(), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:80",
            "localhost:80800",
            "evil.example:8080",
            "localhost.:8080",
            "proxy.example:8080",
            "localhost:8080, x",
            "*",
        ] {
            let refused = guard.check_host(&head("/", &[("host", host)])).unwrap_err();
            assert_eq!(refused.status, 421, "{host}");
        }
        assert!(guard.check_host(&head("/", &[])).is_err());
        let two = [("host", "localhost:8080"), ("host", "localhost:8080")];
        assert!(guard.check_host(&head("/", &two)).is_err());
        let ours = [("host", "localhost:8080")];
        assert!(guard.check_host(&head("http://127.0.0.1:8080/a", &ours)).is_ok());
        assert!(guard.check_host(&head("http://evil.example:8080/a", &ours)).is_err());
        assert!(guard.check_host(&head("http://u@localhost:8080/a", &ours)).is_err());
    }

    #[test]
    fn the_port_of_http_may_be_left_out() {
        let guard = guard("127.0.0.1:80");
        for host in ["localhost", "localhost:80", "db.example"] {
            assert!(guard.check_host(&head("/", &[("host", host)])).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_proxy_may_hand_on_a_host_without_the_port_of_its_scheme() {
        let names = ["db.example:443".to_owned(), "[2001:db8::1]:443".to_owned()];
        let guard = Guard::new("127.0.0.1:8080".parse().unwrap(), &names, &[], None);
        for host in ["db.example", "db.example:443", "[2001:db8::1]"] {
            assert!(guard.check_host(&head("/", &[("host", host)])).is_ok(), "{host}");
        }
        for host in ["db.example:8080", "db.example:80", "localhost", "db.example:4430"] {
            assert!(guard.check_host(&head("/", &[("host", host)])).is_err(), "{host}");
        }
    }

    #[test]
    fn foreign_pages_are_refused() {
        let guard = guard("127.0.0.1:8080");
        let check = |headers: &[(&str, &str)]| guard.check_origin(&head("/", headers).headers);
        assert_eq!(check(&[]).unwrap(), None);
        assert_eq!(check(&[("sec-fetch-site", "none")]).unwrap(), None);
        assert_eq!(check(&[("sec-fetch-site", "same-origin")]).unwrap(), None);
        let allowed = check(&[("origin", "https://ui.example"), ("sec-fetch-site", "cross-site")]);
        assert_eq!(allowed.unwrap().unwrap(), "https://ui.example");
        for bad in [
            &[("origin", "null")][..],
            &[("origin", "http://localhost:8080")],
            &[("origin", "https://ui.example.evil")],
            &[("origin", "https://ui.example"), ("origin", "https://ui.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "whatever")],
        ] {
            assert_eq!(check(bad).unwrap_err().status, 403, "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_taken_from_one_bearer_header_only() {
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let check = |headers: &[(&str, &str)]| {
            guard("127.0.0.1:1").check_token(&head("/", headers).headers, peer, Scope::Data)
        };
        assert!(check(&[("authorization", "Bearer 0123456789abcdef")]).is_ok());
        assert!(check(&[("authorization", "bearer 0123456789abcdef")]).is_ok());
        for bad in [
            &[][..],
            &[("authorization", "0123456789abcdef")],
            &[("authorization", "Basic 0123456789abcdef")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer  0123456789abcdef")],
            &[("authorization", "Bearer 0123456789abcdef0")],
            &[("cookie", "token=0123456789abcdef")],
            &[("authorization", "Bearer 0123456789abcdef"), ("authorization", "Bearer x")],
        ] {
            assert_eq!(check(bad).unwrap_err().status, 401, "{bad:?}");
        }
    }

    #[test]
    fn admin_needs_a_token_where_data_needs_none() {
        let guard = Guard::new("127.0.0.1:1".parse().unwrap(), &[], &[], None);
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let with = [("authorization", "Bearer 0123456789abcdef")];
        let check = |headers: &[(&str, &str)], scope| {
            guard.check_token(&head("/", headers).headers, peer, scope).is_ok()
        };
        assert!(check(&[], Scope::Data) && check(&[], Scope::Open));
        assert!(!check(&[], Scope::Admin) && !check(&with, Scope::Admin));
        guard.set_admin_token(Token::new(TOKEN, "test").unwrap());
        assert!(check(&with, Scope::Admin) && !check(&[], Scope::Admin));
        assert_eq!(Scope::of("/v1/admin/anything"), Scope::Admin);
        assert_eq!(Scope::of("/healthz"), Scope::Open);
        assert_eq!(Scope::of("/healthz/"), Scope::Data);
    }

    #[test]
    fn every_route_but_two_needs_a_token() {
        let guard = guard("127.0.0.1:1");
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        for route in Route::ALL {
            let path = route.template().replace("{key}", "a").replace("{id}", "1");
            let is_open = guard.check_token(&HeaderMap::new(), peer, Scope::of(&path)).is_ok();
            assert_eq!(is_open, matches!(route, Route::Healthz | Route::Readyz), "{path}");
            let changes_the_server =
                matches!(route, Route::Flush | Route::Compact | Route::Verify | Route::Job);
            assert_eq!(Scope::of(&path) == Scope::Admin, changes_the_server, "{path}");
        }
    }

    #[test]
    fn guessing_is_slowed_down() {
        let guard = guard("127.0.0.1:1");
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let wrong = head("/", &[("authorization", "Bearer wrong")]).headers;
        let right = head("/", &[("authorization", "Bearer 0123456789abcdef")]).headers;
        let statuses: Vec<u16> = (0..15)
            .filter_map(|_| guard.check_token(&wrong, peer, Scope::Data).err())
            .map(|problem| problem.status)
            .collect();
        assert!(statuses.contains(&429), "{statuses:?}");
        assert_eq!(statuses[..10], [401; 10]);
        // Whoever has the token is not: behind a proxy all clients have one address.
        assert!(guard.check_token(&right, peer, Scope::Data).is_ok());
        let blocked = guard.check_token(&wrong, peer, Scope::Data).unwrap_err();
        assert!(blocked.status == 401 || blocked.retry_after_ms == Some(1000));
    }
}
