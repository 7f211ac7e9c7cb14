//! Which namespaces a server has.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::children::{Children, Limits};
use super::family::{self, FamilyPredicate, LocalTakes, Takes};
use super::{Namespace, SharedTable, Table};
use crate::server::NamespaceHandle;
use crate::{Error, Result};

/// Hears of namespaces that clients bring into being.
pub(crate) type Newcomer = Box<dyn Fn(&NamespaceHandle) + Send + Sync>;

/// All namespaces of a server. Tables of handlers are named by their index.
pub(crate) struct Namespaces {
    tables: Vec<SharedTable>,
    named: HashMap<Arc<str>, usize>,
    families: Vec<Kin>,
    pub(crate) children: Children,
    pub(crate) newcomers: Vec<Newcomer>,
}

/// A family.
struct Kin {
    takes: Takes,
    table: usize,
    name: Option<String>,
    is_pattern: bool,
    /// Those of its namespaces that were described by themselves.
    named: Vec<Arc<str>>,
}

/// How a namespace was described.
pub(crate) enum Described {
    Named(String),
    Family(FamilyPredicate),
}

impl Namespaces {
    pub(crate) fn new(limits: Limits, newcomers: Vec<Newcomer>) -> Self {
        Namespaces {
            tables: Vec::new(),
            named: HashMap::new(),
            families: Vec::new(),
            children: Children::new(limits),
            newcomers,
        }
    }

    /// Adds a namespace or a family.
    pub(crate) fn insert(&mut self, described: Described, namespace: Namespace) -> Result<()> {
        match described {
            Described::Named(name) => self.insert_named(&name, namespace),
            Described::Family(predicate) => self.insert_family(predicate, namespace),
        }
    }

    fn insert_named(&mut self, name: &str, namespace: Namespace) -> Result<()> {
        let name = normal_name(name);
        let fault = |what: String| Err(Error::setting("namespace", what));
        if namespace.family.is_some() {
            return fault(format!("{name} is no family (`Namespace::family`)"));
        }
        // As in Node: one that is described after a pattern that takes its name has what that family has, and is one of its children.
        let is_kin = |kin: &&mut Kin| kin.is_pattern && kin.takes_name(&name) == Some(true);
        let table = match self.families.iter_mut().find(is_kin) {
            Some(kin) if &*name != "/" => {
                kin.named.push(name.clone());
                self.tables[kin.table].clone().followed_by(namespace.table)
            }
            _ => namespace.table,
        };
        self.tables.push(table);
        if self
            .named
            .insert(name.clone(), self.tables.len() - 1)
            .is_some()
        {
            return fault(format!("{name} is described twice"));
        }
        Ok(())
    }

    fn insert_family(&mut self, predicate: FamilyPredicate, namespace: Namespace) -> Result<()> {
        let fault = |what: String| Err(Error::setting("namespaces", what));
        let FamilyPredicate { mut takes, name } = predicate;
        let is_pattern = matches!(takes, Takes::Pattern);
        if let (Takes::Pattern, Some(text)) = (&takes, &name) {
            takes = match family::pattern(text) {
                Ok(takes) => takes,
                Err(error) => {
                    return fault(format!("have a pattern that is none, {text}: {error}"));
                }
            };
        }
        let is_taken = |name: &String| self.find_family(name).is_some();
        if let Some(name) = namespace.family.as_ref().filter(|name| is_taken(name)) {
            return fault(format!("have two families of the name {name:?}"));
        }
        self.tables.push(namespace.table);
        self.families.push(Kin {
            takes,
            table: self.tables.len() - 1,
            name: namespace.family.or(name),
            is_pattern,
            named: Vec::new(),
        });
        Ok(())
    }

    /// Changes the description of all that were added, and adds one that is nobody's kin.
    #[cfg(feature = "admin")]
    pub(crate) fn watch(
        &mut self,
        change: impl Fn(Namespace) -> Namespace,
        (name, own): (&str, Namespace),
    ) -> Result<()> {
        for table in &mut self.tables {
            let described = Namespace {
                table: std::mem::take(table),
                ..Namespace::default()
            };
            *table = change(described).table;
        }
        self.tables.push(own.table);
        if self
            .named
            .insert(name.into(), self.tables.len() - 1)
            .is_some()
        {
            return Err(Error::setting(
                "admin",
                format!(
                    "wants the namespace {name} for itself, and the server has one of this name"
                ),
            ));
        }
        Ok(())
    }

    /// A namespace that was described by itself.
    pub(crate) fn find(&self, name: &str) -> Option<(Arc<str>, usize)> {
        let (name, table) = self.named.get_key_value(name)?;
        Some((name.clone(), *table))
    }

    pub(crate) fn families(&self) -> usize {
        self.families.len()
    }

    /// Whether that family takes a name; `None` where a request is to be asked ([`Namespaces::takes_on_this_core`]).
    pub(crate) fn takes_name(&self, family: usize, name: &str) -> Option<bool> {
        self.families.get(family)?.takes_name(name)
    }

    pub(crate) fn table_of(&self, family: usize) -> Option<usize> {
        self.families.get(family).map(|kin| kin.table)
    }

    pub(crate) fn find_family(&self, name: &str) -> Option<usize> {
        self.families
            .iter()
            .position(|kin| kin.name.as_deref() == Some(name))
    }

    /// Those of a family.
    pub(crate) fn names_of_family(&self, family: usize) -> Vec<Arc<str>> {
        let mut names = self.children.names(Some(family));
        names.extend(self.named_kin(family));
        names.sort_unstable();
        names
    }

    /// Those of a family that somebody may be in.
    pub(crate) fn inhabited(&self, family: usize) -> Vec<Arc<str>> {
        let mut names = self.children.inhabited(family);
        names.extend(self.named_kin(family));
        names
    }

    fn named_kin(&self, family: usize) -> impl Iterator<Item = Arc<str>> {
        let kin = self.families.get(family).into_iter();
        kin.flat_map(|kin| kin.named.iter().cloned())
    }

    /// All names.
    pub(crate) fn names(&self) -> Vec<String> {
        let children = self.children.names(None);
        let all = self.named.keys().chain(&children);
        let mut names: Vec<String> = all.map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    /// The handles of one core, by the index of the table.
    pub(crate) fn on_this_core(&self) -> Vec<Rc<Table>> {
        let tables = self.tables.iter().enumerate().map(|(number, table)| {
            let is_family = self.families.iter().any(|kin| kin.table == number);
            Rc::new(table.on_this_core(is_family))
        });
        tables.collect()
    }

    /// The predicates of one core, by the number of the family; `None` for those that are asked by the name alone.
    pub(crate) fn takes_on_this_core(&self) -> Vec<Option<LocalTakes>> {
        let takes = self.families.iter().map(|kin| match &kin.takes {
            Takes::Request(takes) => Some(takes()),
            Takes::Name(_) | Takes::Pattern => None,
        });
        takes.collect()
    }

    pub(crate) fn name_of(&self, name: &str) -> Arc<str> {
        let name = normal_name(name);
        self.named
            .get_key_value(&name)
            .map_or(name, |(known, _)| known.clone())
    }
}

impl Kin {
    fn takes_name(&self, name: &str) -> Option<bool> {
        match &self.takes {
            Takes::Name(takes) => Some(takes(name)),
            Takes::Pattern | Takes::Request(_) => None,
        }
    }
}

/// As in Node: `of("x")` is `of("/x")`, and `of("")` is `of("/")`.
pub(crate) fn normal_name(name: &str) -> Arc<str> {
    if name.starts_with('/') {
        name.into()
    } else {
        format!("/{name}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::NamespaceMatcher;
    use super::*;

    fn namespaces() -> Namespaces {
        let limits = Limits {
            children_max: 10,
            cleanup: false,
        };
        Namespaces::new(limits, Vec::new())
    }

    fn named(namespaces: &mut Namespaces, name: &str) -> Result<()> {
        let described = Described::Named(name.to_owned());
        namespaces.insert(described, Namespace::default().on(name, || {}))
    }

    fn family<M>(
        namespaces: &mut Namespaces,
        takes: impl NamespaceMatcher<M>,
        namespace: Namespace,
    ) -> Result<()> {
        namespaces.insert(Described::Family(takes.into_predicate()), namespace)
    }

    #[test]
    fn names_begin_with_a_slash() {
        let mut namespaces = namespaces();
        named(&mut namespaces, "chat").unwrap();
        assert_eq!(namespaces.find("/chat"), Some(("/chat".into(), 0)));
        assert!(namespaces.find("chat").is_none());
        assert_eq!(&*namespaces.name_of(""), "/");
        let error = named(&mut namespaces, "/chat").unwrap_err();
        assert!(error.to_string().contains("/chat is described twice"));
    }

    #[test]
    fn patterns_are_searched_for_in_the_name() {
        let mut namespaces = namespaces();
        for pattern in [r"^/room-\d+$", "oom"] {
            family(&mut namespaces, pattern, Namespace::default()).unwrap();
        }
        for (name, first, second) in [
            ("/room-17", true, true),
            ("/room-", false, true),
            ("/x/room-1", false, true),
            ("/rom-1", false, false),
        ] {
            assert_eq!(namespaces.takes_name(0, name), Some(first), "{name}");
            assert_eq!(namespaces.takes_name(1, name), Some(second), "{name}");
        }
        assert_eq!(namespaces.find_family("oom"), Some(1));
        let error = family(&mut namespaces, "/(", Namespace::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`namespaces` have a pattern that is none, /(: "),
            "{text}"
        );
    }

    #[test]
    fn families_have_names_of_their_own() {
        let mut namespaces = namespaces();
        let named_so = |name| Namespace::default().family(name);
        family(&mut namespaces, "^/a", named_so("letters")).unwrap();
        family(
            &mut namespaces,
            |name: &str| name == "/b",
            Namespace::default(),
        )
        .unwrap();
        family(&mut namespaces, |name: &str| name == "/c", named_so("c")).unwrap();
        assert_eq!(namespaces.find_family("letters"), Some(0));
        assert_eq!(namespaces.find_family("^/a"), None);
        assert_eq!(namespaces.find_family("c"), Some(2));
        let error = family(&mut namespaces, "^/d", named_so("c")).unwrap_err();
        assert!(error.to_string().contains("\"c\""), "{error}");
        let described = Described::Named("/e".to_owned());
        assert!(namespaces.insert(described, named_so("e")).is_err());
    }

    #[test]
    fn what_is_described_after_a_pattern_that_takes_it_has_what_the_family_has() {
        let mut namespaces = namespaces();
        named(&mut namespaces, "/room-0").unwrap();
        family(&mut namespaces, |_: &str| true, Namespace::default()).unwrap();
        family(
            &mut namespaces,
            "^/room",
            Namespace::default().on("a", || {}),
        )
        .unwrap();
        named(&mut namespaces, "/room-1").unwrap();
        named(&mut namespaces, "/other").unwrap();
        let tables = namespaces.on_this_core();
        let handlers = |name: &str| {
            let (_, table) = namespaces.find(name).unwrap();
            let mut events: Vec<&str> = tables[table].events.keys().map(|name| &**name).collect();
            events.sort_unstable();
            events
        };
        assert_eq!(handlers("/room-0"), ["/room-0"]);
        assert_eq!(handlers("/room-1"), ["/room-1", "a"]);
        assert_eq!(handlers("/other"), ["/other"]);
        assert_eq!(namespaces.names_of_family(1), ["/room-1".into()]);
        assert!(namespaces.names_of_family(0).is_empty());
        assert_eq!(namespaces.names(), ["/other", "/room-0", "/room-1"]);
    }
}
