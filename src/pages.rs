//! A table that grows by pages and never moves what it holds.
//!
//! The tables of a core have an entry for each connection. A `Vec` of a million entries would be copied as a whole, in the middle of a
//! turn, whenever it outgrows its room, and would leave as much again unused behind.

#![forbid(unsafe_code)]

use std::ops::{Index, IndexMut};

/// Entries on one page.
const PAGE: usize = 256;

/// See the module's text. Memory: the entries, rounded up to pages of 256, and 24 bytes a page.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    /// All full but the last.
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Pages {
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Pages<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.pages.get(index / PAGE)?.get(index % PAGE)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pages.get_mut(index / PAGE)?.get_mut(index % PAGE)
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        if let Some(page) = self.pages.last_mut() {
            page.push(value);
            self.len += 1;
        }
    }

    /// Grows to `len` entries at least; never shrinks.
    pub(crate) fn grow_with(&mut self, len: usize, fill: impl Fn() -> T) {
        while self.len < len {
            self.push(fill());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.pages[index / PAGE][index % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pages[index / PAGE][index % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_table() {
        let mut pages = Pages::default();
        assert_eq!((pages.len(), pages.get(0)), (0, None));
        for value in 0..3 * PAGE {
            pages.push(value);
        }
        pages[PAGE] = 7;
        pages.grow_with(2 * PAGE, || 0);
        assert_eq!(pages.len(), 3 * PAGE, "never shrinks");
        pages.grow_with(3 * PAGE + 2, || 9);
        assert_eq!(pages[3 * PAGE + 1], 9);
        assert_eq!(pages.get(3 * PAGE + 2), None);
        assert_eq!(pages.get_mut(PAGE).copied(), Some(7));
        let all: Vec<usize> = pages.iter().copied().collect();
        assert_eq!(all.len(), pages.len());
        assert_eq!(
            (all[PAGE - 1], all[PAGE], all[PAGE + 1]),
            (PAGE - 1, 7, PAGE + 1)
        );
    }

    #[test]
    fn what_it_holds_stays_where_it_is() {
        let mut pages = Pages::default();
        pages.push(1);
        let place = std::ptr::from_ref(&pages[0]);
        pages.grow_with(100 * PAGE, || 0);
        assert_eq!(place, std::ptr::from_ref(&pages[0]));
    }
}
