//! A page as the HTML standard parses it.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A parsed page.
pub(crate) struct Page {
    dom: RcDom,
}

/// An element of it.
#[derive(Clone)]
pub(crate) struct Element(Handle);

impl Page {
    pub(crate) fn parse(html: &str) -> Page {
        let opts = ParseOpts::default();
        Page { dom: parse_document(RcDom::default(), opts).one(html) }
    }

    /// What the standard calls parse errors: the page is not valid if there is one.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.dom.errors.borrow().iter().map(ToString::to_string).collect()
    }

    /// Every element, in the order of the document.
    pub(crate) fn elements(&self) -> Vec<Element> {
        Element(self.dom.document.clone()).elements()
    }

    /// Every element of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<Element> {
        Element(self.dom.document.clone()).all(name)
    }

    /// The element of an id.
    pub(crate) fn by_id(&self, id: &str) -> Element {
        let found = self.elements().into_iter().find(|e| e.attr("id").as_deref() == Some(id));
        found.unwrap_or_else(|| panic!("there is no #{id}"))
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.elements().iter().any(|e| e.attr("id").as_deref() == Some(id))
    }
}

impl Element {
    pub(crate) fn name(&self) -> String {
        match &self.0.data {
            NodeData::Element { name, .. } => name.local.to_string(),
            _ => String::new(),
        }
    }

    pub(crate) fn attrs(&self) -> Vec<(String, String)> {
        match &self.0.data {
            NodeData::Element { attrs, .. } => {
                attrs.borrow().iter().map(|a| (a.name.local.to_string(), a.value.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn attr(&self, name: &str) -> Option<String> {
        self.attrs().into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.attr("class").is_some_and(|c| c.split(' ').any(|one| one == class))
    }

    /// An attribute that is a number.
    pub(crate) fn number(&self, name: &str) -> i32 {
        self.attr(name).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{name} of {}", self.name()))
    }

    /// The elements below this one.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let mut found = Vec::new();
        for child in self.0.children.borrow().iter() {
            let element = Element(child.clone());
            let below = element.elements();
            if matches!(child.data, NodeData::Element { .. }) {
                found.push(element);
            }
            found.extend(below);
        }
        found
    }

    pub(crate) fn all(&self, name: &str) -> Vec<Element> {
        self.elements().into_iter().filter(|e| e.name() == name).collect()
    }

    /// The text in it, in one line, with plain spaces.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        collect_text(&self.0, &mut text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn collect_text(node: &Handle, text: &mut String) {
    if let NodeData::Text { contents } = &node.data {
        text.push_str(&contents.borrow());
    }
    for child in node.children.borrow().iter() {
        collect_text(child, text);
    }
}
