//! Which policy governs a request.
//!
//! Responsible for the patterns of `match` and for their precedence: exact before prefix, longer before shorter, a
//! host before none; the order in the configuration does not matter. Selection is a few lookups however many policies
//! there are. It selects indices: what a policy holds is not its concern.

use crate::uri::{authority, path};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A path pattern, compared byte for byte with the path without query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// This path and no other.
    Exact(Arc<str>),
    /// This path and all below it: a prefix ends at a segment boundary.
    Prefix(Arc<str>),
}

impl PathPattern {
    /// The path that it is made of.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/') || prefix.ends_with('/')),
        }
    }
}

/// A host pattern in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Every host.
    Any,
    /// Hosts that end so, at any depth: the suffix `.example.com` and its length.
    Suffix(usize, Arc<str>),
    /// This host.
    Exact(Arc<str>),
}

impl HostPattern {
    fn matches(&self, host: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(_, suffix) => {
                host.is_some_and(|host| host.len() > suffix.len() && host.ends_with(suffix.as_bytes()))
            }
            Self::Exact(exact) => host == Some(exact.as_bytes()),
        }
    }
}

/// What a policy's `match` says.
#[derive(Clone, Debug)]
pub struct Match {
    /// At least one.
    pub paths: Vec<PathPattern>,
    /// At least one.
    pub methods: Vec<Arc<str>>,
    /// At least one: `Any` where no host is named.
    pub hosts: Vec<HostPattern>,
}

impl Match {
    /// Whether it governs the request whatever its method: a path without query and an authority. An authority that can
    /// be read in two ways is that of no host.
    #[must_use]
    pub fn governs(&self, path: &[u8], authority: &[u8]) -> bool {
        let host = authority::host(authority);
        self.paths.iter().any(|pattern| pattern.matches(path))
            && self.hosts.iter().any(|pattern| pattern.matches(host.as_deref()))
    }

    /// Whether it governs the path, whatever the host and method.
    #[must_use]
    pub fn governs_path(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether it names any host.
    #[must_use]
    pub fn names_hosts(&self) -> bool {
        self.hosts.iter().any(|host| *host != HostPattern::Any)
    }

    /// Whether the method is one of its own. Methods are case-sensitive (RFC 9110 9.1).
    #[must_use]
    pub fn admits(&self, method: &[u8]) -> bool {
        self.methods.iter().any(|admitted| admitted.as_bytes() == method)
    }
}

/// What was found for a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// The policy of this index.
    Policy(usize),
    /// Policies of these indices, all for other methods.
    WrongMethod(Vec<usize>),
    /// None.
    Nothing,
}

/// The policies of one path and host, each with its methods.
pub(crate) type Governing = [Policed];
type Policed = (usize, Arc<[Arc<str>]>);

/// The policies of one path, by host.
#[derive(Debug, Default)]
struct Hosts {
    exact: BTreeMap<Vec<u8>, Vec<Policed>>,
    /// By suffix, the dot in front included.
    suffix: BTreeMap<Vec<u8>, Vec<Policed>>,
    longest_suffix: usize,
    any: Vec<Policed>,
}

impl Hosts {
    fn get(&self, pattern: &HostPattern) -> Option<&Vec<Policed>> {
        match pattern {
            HostPattern::Any => Some(&self.any),
            HostPattern::Suffix(_, suffix) => self.suffix.get(suffix.as_bytes()),
            HostPattern::Exact(exact) => self.exact.get(exact.as_bytes()),
        }
    }

    fn entry(&mut self, pattern: &HostPattern) -> &mut Vec<Policed> {
        match pattern {
            HostPattern::Any => &mut self.any,
            HostPattern::Suffix(_, suffix) => {
                self.longest_suffix = self.longest_suffix.max(suffix.len());
                self.suffix.entry(suffix.as_bytes().to_vec()).or_default()
            }
            HostPattern::Exact(exact) => self.exact.entry(exact.as_bytes().to_vec()).or_default(),
        }
    }

    /// The policies of the most specific pattern that a host matches: itself, then its longest suffix, then any. No
    /// more lookups than the longest configured suffix has dots, however many hosts are named.
    fn select(&self, host: &[u8]) -> &Governing {
        let suffixes = || {
            let shortest = host.len().saturating_sub(self.longest_suffix).max(1);
            (shortest..host.len())
                .filter_map(|at| host.get(at..))
                .filter(|suffix| suffix.first() == Some(&b'.'))
                .find_map(|suffix| self.suffix.get(suffix))
        };
        self.exact.get(host).or_else(suffixes).unwrap_or(&self.any)
    }
}

/// All matches of a configuration, ready for lookup.
#[derive(Debug, Default)]
pub struct Table {
    exact: BTreeMap<Vec<u8>, Hosts>,
    prefix: BTreeMap<Vec<u8>, Hosts>,
    longest_prefix: usize,
}

impl Table {
    /// The policy, if any, that is there already for the same path, host and method.
    #[must_use]
    pub fn rival(&self, rule: &Match) -> Option<usize> {
        rule.paths.iter().find_map(|pattern| {
            let hosts = match pattern {
                PathPattern::Exact(path) => self.exact.get(path.as_bytes()),
                PathPattern::Prefix(path) => self.prefix.get(path.as_bytes()),
            }?;
            let governing = rule.hosts.iter().filter_map(|host| hosts.get(host)).flatten();
            let mut taken =
                governing.filter(|(_, methods)| methods.iter().any(|one| rule.methods.contains(one)));
            taken.next().map(|(policy, _)| *policy)
        })
    }

    /// Adds a policy's match. Where there is a rival, the one that came first is selected.
    pub fn insert(&mut self, policy: usize, rule: &Match) {
        self.insert_each(policy, rule, |path| vec![path.as_bytes().to_vec()]);
    }

    /// Adds a policy's match with every reading of its paths. One with too many is not let in by the configuration.
    pub(crate) fn insert_readings(&mut self, policy: usize, rule: &Match) {
        let all = |path: &str| path::readings(path.as_bytes());
        self.insert_each(policy, rule, |path| {
            all(path).unwrap_or_else(|| vec![path.to_ascii_lowercase().into()])
        });
    }

    fn insert_each(&mut self, policy: usize, rule: &Match, forms: impl Fn(&str) -> Vec<Vec<u8>>) {
        let methods: Arc<[Arc<str>]> = rule.methods.clone().into();
        for pattern in &rule.paths {
            for path in forms(pattern.text()) {
                let hosts = match pattern {
                    PathPattern::Exact(_) => self.exact.entry(path).or_default(),
                    PathPattern::Prefix(_) => {
                        self.longest_prefix = self.longest_prefix.max(path.len());
                        self.prefix.entry(path).or_default()
                    }
                };
                for host in &rule.hosts {
                    hosts.entry(host).push((policy, methods.clone()));
                }
            }
        }
    }

    /// The most specific policy for a path (without query), a host as [`authority::host`] gives it and a method. Where
    /// the most specific path and host have no policy for the method, a less specific one does not step in.
    #[must_use]
    pub fn select(&self, path: &[u8], host: &[u8], method: &[u8]) -> Selection {
        let governing = self.governing(path, host);
        let admits = |methods: &[Arc<str>]| methods.iter().any(|admitted| admitted.as_bytes() == method);
        match governing.iter().find(|(_, methods)| admits(methods)) {
            Some((policy, _)) => Selection::Policy(*policy),
            None if governing.is_empty() => Selection::Nothing,
            None => Selection::WrongMethod(governing.iter().map(|(policy, _)| *policy).collect()),
        }
    }

    /// The policies of the most specific path and host, whatever their methods.
    pub(crate) fn governing(&self, path: &[u8], host: &[u8]) -> &Governing {
        let mut candidates = self.exact.get(path).into_iter().chain(self.prefixes(path));
        let found =
            candidates.find_map(|hosts| Some(hosts.select(host)).filter(|governing| !governing.is_empty()));
        found.unwrap_or_default()
    }

    /// Whether a policy has exactly that path, for whatever host.
    pub(crate) fn has_exact(&self, path: &[u8]) -> bool {
        self.exact.contains_key(path)
    }

    /// Longest first. No more lookups than the longest configured prefix has bytes, however long the path is.
    fn prefixes<'t>(&'t self, path: &[u8]) -> impl Iterator<Item = &'t Hosts> {
        (1..=path.len().min(self.longest_prefix)).rev().filter_map(move |length| {
            let (head, rest) = path.split_at_checked(length)?;
            let ends_segment = rest.first().is_none_or(|byte| *byte == b'/') || head.ends_with(b"/");
            if ends_segment { self.prefix.get(head) } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &[PathPattern], methods: &[&str], hosts: &[HostPattern]) -> Match {
        Match {
            paths: paths.to_vec(),
            methods: methods.iter().map(|method| Arc::from(*method)).collect(),
            hosts: hosts.to_vec(),
        }
    }

    fn exact(path: &str) -> PathPattern {
        PathPattern::Exact(Arc::from(path))
    }

    fn prefix(path: &str) -> PathPattern {
        PathPattern::Prefix(Arc::from(path))
    }

    fn suffix(host: &str) -> HostPattern {
        HostPattern::Suffix(host.len(), Arc::from(host))
    }

    #[test]
    fn the_most_specific_pattern_wins_whatever_the_order() {
        let any = [HostPattern::Any];
        let named = [HostPattern::Exact(Arc::from("hooks.example.com"))];
        let rules = [
            rule(&[prefix("/")], &["POST"], &any),
            rule(&[prefix("/v1")], &["POST"], &any),
            rule(&[prefix("/v1/deep")], &["POST"], &any),
            rule(&[exact("/v1/deep")], &["POST"], &any),
            rule(&[prefix("/v1")], &["POST"], &named),
            rule(&[prefix("/v1")], &["POST"], &[suffix(".example.com")]),
            rule(&[exact("/v1")], &["GET"], &any),
            rule(&[prefix("/slash/")], &["POST"], &any),
        ];
        let rows = [
            ("/v1/deep", "x", "POST", Selection::Policy(3)),
            ("/v1/deep/er", "x", "POST", Selection::Policy(2)),
            ("/v1/deeper", "x", "POST", Selection::Policy(1)),
            ("/v10", "x", "POST", Selection::Policy(0)),
            ("/v1/a", "hooks.example.com", "POST", Selection::Policy(4)),
            ("/v1/a", "other.example.com", "POST", Selection::Policy(5)),
            ("/v1/a", "a.b.example.com", "POST", Selection::Policy(5)),
            ("/v1/a", "example.com", "POST", Selection::Policy(1)),
            ("/v1", "x", "POST", Selection::WrongMethod(vec![6])),
            ("/v1", "x", "GET", Selection::Policy(6)),
            ("/v1/a", "x", "GET", Selection::WrongMethod(vec![1])),
            ("/v1/a", "x", "post", Selection::WrongMethod(vec![1])),
            ("/slash/a", "[::1]", "POST", Selection::Policy(7)),
            ("/slash", "[::1]", "POST", Selection::Policy(0)),
            ("/V1", "x", "POST", Selection::Policy(0)),
        ];
        for reversed in [false, true] {
            let mut table = Table::default();
            let mut order: Vec<_> = rules.iter().enumerate().collect();
            if reversed {
                order.reverse();
            }
            for (index, rule) in order {
                table.insert(index, rule);
            }
            for (path, host, method, selected) in &rows {
                let found = table.select(path.as_bytes(), host.as_bytes(), method.as_bytes());
                assert_eq!(found, *selected, "{method} {host}{path}, reversed: {reversed}");
            }
        }
    }

    #[test]
    fn the_host_that_is_named_comes_before_its_longest_suffix_and_that_before_any() {
        let hosts = ["a.b.c", ".b.c", ".c", ".x.b.c"].map(|host| match host.starts_with('.') {
            true => suffix(host),
            false => HostPattern::Exact(Arc::from(host)),
        });
        let mut table = Table::default();
        for (index, host) in hosts.into_iter().chain([HostPattern::Any]).enumerate() {
            table.insert(index, &rule(&[exact("/")], &["POST"], &[host]));
        }
        for (host, policy) in [
            ("a.b.c", 0),
            ("b.b.c", 1),
            ("a.a.b.c", 1),
            ("a..b.c", 1),
            (".b.c", 2),
            ("b.c", 2),
            ("xb.c", 2),
            ("y.x.b.c", 3),
            (".x.b.c", 1),
            ("c", 4),
            (".c", 4),
            ("", 4),
            ("c.d", 4),
        ] {
            assert_eq!(table.select(b"/", host.as_bytes(), b"POST"), Selection::Policy(policy), "{host}");
        }
    }

    #[test]
    fn a_real_tie_is_refused_and_two_methods_of_one_path_are_none() {
        let mut table = Table::default();
        let any = [HostPattern::Any];
        table.insert(0, &rule(&[prefix("/v1")], &["POST"], &any));
        assert_eq!(table.rival(&rule(&[exact("/x"), prefix("/v1")], &["GET", "POST"], &any)), Some(0));
        let other_method = rule(&[prefix("/v1")], &["GET"], &any);
        assert_eq!(table.rival(&other_method), None);
        table.insert(2, &other_method);
        assert_eq!(table.select(b"/v1", b"", b"GET"), Selection::Policy(2));
        assert_eq!(table.select(b"/v1", b"", b"PUT"), Selection::WrongMethod(vec![0, 2]));
    }

    #[test]
    fn nothing_governs_a_path_that_nobody_named() {
        let mut table = Table::default();
        table.insert(0, &rule(&[prefix("/v1"), exact("/x")], &["POST"], &[suffix(".a.b")]));
        for (path, host) in [("/v2", "c.a.b"), ("/x/", "c.a.b"), ("/v1", "a.b"), ("/v1", "xa.b"), ("/v1", "")]
        {
            let found = table.select(path.as_bytes(), host.as_bytes(), b"POST");
            assert_eq!(found, Selection::Nothing, "{host}{path}");
        }
    }

    #[test]
    fn hosts_that_end_so_are_longer_than_what_they_end_with() {
        let rule = rule(&[prefix("/v1")], &["POST"], &[suffix(".b.c")]);
        for (host, expected) in
            [("a.b.c", true), ("a.a.b.c:80", true), ("b.c", false), ("xb.c", false), ("a.x.c", false)]
        {
            assert_eq!(rule.governs(b"/v1", host.as_bytes()), expected, "{host}");
        }
        assert!(!suffix(".b.c").matches(Some(b".b.c")));
        assert!(!suffix(".b.c").matches(None));
    }
}
