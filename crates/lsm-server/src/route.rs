//! The table of routes.
//!
//! A route is found from the raw path. Routes that end in a key take the whole rest of the path as
//! the key, slashes included.

use hyper::Method;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A key and its value in one JSON document.
    Put,
    /// An item as JSON.
    Get,
    /// A deletion that answers JSON.
    Delete,
    /// One key: raw bytes and entity tags.
    Value,
    /// A range of keys.
    Scan,
    /// Many keys of one view.
    Mget,
    /// Many writes that become visible together.
    Batch,
    /// Figures about the store.
    Stats,
    /// The shape of the tree.
    Tree,
    /// Begin a flush.
    Flush,
    /// Begin a compaction of everything.
    Compact,
    /// Begin to check every byte.
    Verify,
    /// How a job goes.
    Job,
    /// Whether the process should live.
    Healthz,
    /// Whether requests should be sent here.
    Readyz,
    /// What this is.
    Version,
    /// Figures for Prometheus.
    Metrics,
}

/// What a route takes as a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// Nothing.
    Nothing,
    /// A JSON document.
    Json,
    /// Bytes of any type but those that a web page's form can send.
    Raw,
}

impl Route {
    /// Every route.
    pub(crate) const ALL: [Route; 17] = [
        Route::Put,
        Route::Get,
        Route::Delete,
        Route::Value,
        Route::Scan,
        Route::Mget,
        Route::Batch,
        Route::Stats,
        Route::Tree,
        Route::Flush,
        Route::Compact,
        Route::Verify,
        Route::Job,
        Route::Healthz,
        Route::Readyz,
        Route::Version,
        Route::Metrics,
    ];

    /// The route's path, with `{..}` for its variable end. It also names the route in metrics.
    pub(crate) const fn template(self) -> &'static str {
        match self {
            Route::Put => "/put",
            Route::Get => "/get/{key}",
            Route::Delete => "/delete/{key}",
            Route::Value => "/v1/kv/{key}",
            Route::Scan => "/v1/kv",
            Route::Mget => "/v1/mget",
            Route::Batch => "/v1/batch",
            Route::Stats => "/v1/stats",
            Route::Tree => "/v1/tree",
            Route::Flush => "/v1/admin/flush",
            Route::Compact => "/v1/admin/compact",
            Route::Verify => "/v1/admin/verify",
            Route::Job => "/v1/jobs/{id}",
            Route::Healthz => "/healthz",
            Route::Readyz => "/readyz",
            Route::Version => "/version",
            Route::Metrics => "/metrics",
        }
    }

    /// The methods that the route knows, as the header `Allow` lists them.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Route::Put
            | Route::Mget
            | Route::Batch
            | Route::Flush
            | Route::Compact
            | Route::Verify => "POST",
            Route::Delete => "DELETE",
            Route::Value => "GET, HEAD, PUT, DELETE",
            Route::Scan => "GET",
            Route::Get
            | Route::Stats
            | Route::Tree
            | Route::Job
            | Route::Healthz
            | Route::Readyz
            | Route::Version
            | Route::Metrics => "GET, HEAD",
        }
    }

    /// Whether the route knows a method.
    pub(crate) fn knows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    /// What the route takes as a body under this method.
    pub(crate) fn body(self, method: &Method) -> BodyKind {
        if *method == Method::POST {
            BodyKind::Json
        } else if *method == Method::PUT {
            BodyKind::Raw
        } else {
            BodyKind::Nothing
        }
    }

    /// Whether the route answers while the store is still being recovered.
    pub(crate) const fn answers_always(self) -> bool {
        matches!(self, Route::Healthz | Route::Readyz | Route::Version)
    }

    /// Finds the route of a raw path, and the raw rest where the template has a variable end.
    pub(crate) fn find(path: &str) -> Option<(Route, &str)> {
        Route::ALL.iter().find_map(|&route| {
            let template = route.template();
            match template.split_once('{') {
                Some((start, _)) => path.strip_prefix(start).map(|rest| (route, rest)),
                None => (path == template).then_some((route, "")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_finds_its_route() {
        for route in Route::ALL {
            let path = route.template().replace("{key}", "a%2Fb/c").replace("{id}", "7");
            let (found, _) = Route::find(&path).unwrap();
            assert_eq!(found, route, "{path}");
        }
    }

    #[test]
    fn a_key_is_the_whole_raw_rest() {
        assert_eq!(Route::find("/v1/kv/a//b/../"), Some((Route::Value, "a//b/../")));
        assert_eq!(Route::find("/get/"), Some((Route::Get, "")));
        assert_eq!(Route::find("/v1/kv"), Some((Route::Scan, "")));
        for stranger in [
            "",
            "/",
            "/get",
            "/PUT",
            "/put/",
            "//put",
            "/v1",
            "/v1/",
            "/v1/kvx",
            "/v1/admin/",
            "/v1/admin/flush/",
            "/healthz/",
            "*",
        ] {
            assert_eq!(Route::find(stranger), None, "{stranger}");
        }
    }

    /// The raw requests of `tests/it/auth.rs` go to the routes of this page.
    #[test]
    fn every_route_is_documented() {
        let page = include_str!("../../../docs/rest-api.md");
        for route in Route::ALL {
            let ends = ["`", "?"].map(|end| format!("{}{end}", route.template()));
            assert!(ends.iter().any(|path| page.contains(path)), "{}", route.template());
        }
    }

    #[test]
    fn methods_are_those_of_the_allow_header() {
        assert!(Route::Value.knows(&Method::HEAD) && Route::Value.knows(&Method::PUT));
        assert!(!Route::Value.knows(&Method::POST) && !Route::Scan.knows(&Method::HEAD));
        assert!(!Route::Put.knows(&Method::GET) && !Route::Get.knows(&Method::OPTIONS));
    }
}
