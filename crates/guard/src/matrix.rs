//! Which services call each other in circles, and how fast such a circle multiplies calls.

use std::collections::{BTreeMap, BTreeSet};

/// Parts in which every service is reached from every other, and which hold a circle: several
/// services, or one that calls itself. (Tarjan's algorithm without recursion.)
pub(crate) fn circles(edges: &BTreeSet<(u32, u32)>) -> Vec<BTreeSet<u32>> {
    let mut next: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(*from).or_default().push(*to);
        next.entry(*to).or_default();
    }
    let mut search = Search::default();
    for node in next.keys() {
        if !search.index.contains_key(node) {
            search.from(*node, &next);
        }
    }
    let mut found = search.found;
    found.retain(|part| part.len() > 1 || part.iter().any(|node| edges.contains(&(*node, *node))));
    found
}

#[derive(Default)]
struct Search {
    index: BTreeMap<u32, usize>,
    low: BTreeMap<u32, usize>,
    stack: Vec<u32>,
    on_stack: BTreeSet<u32>,
    found: Vec<BTreeSet<u32>>,
}

impl Search {
    fn from(&mut self, start: u32, next: &BTreeMap<u32, Vec<u32>>) {
        let mut path: Vec<(u32, usize)> = vec![(start, 0)];
        self.enter(start);
        while let Some((node, position)) = path.last_mut() {
            let node = *node;
            let successor = next
                .get(&node)
                .and_then(|successors| successors.get(*position))
                .copied();
            *position += 1;
            match successor {
                Some(other) if !self.index.contains_key(&other) => {
                    self.enter(other);
                    path.push((other, 0));
                }
                Some(other) => {
                    if self.on_stack.contains(&other) {
                        self.lower(node, self.index[&other]);
                    }
                }
                None => {
                    path.pop();
                    if let Some((parent, _)) = path.last() {
                        self.lower(*parent, self.low[&node]);
                    }
                    if self.low[&node] == self.index[&node] {
                        self.take_part(node);
                    }
                }
            }
        }
    }

    fn enter(&mut self, node: u32) {
        let index = self.index.len();
        self.index.insert(node, index);
        self.low.insert(node, index);
        self.stack.push(node);
        self.on_stack.insert(node);
    }

    fn lower(&mut self, node: u32, to: usize) {
        if let Some(low) = self.low.get_mut(&node) {
            *low = (*low).min(to);
        }
    }

    fn take_part(&mut self, head: u32) {
        let mut part = BTreeSet::new();
        while let Some(node) = self.stack.pop() {
            self.on_stack.remove(&node);
            part.insert(node);
            if node == head {
                break;
            }
        }
        self.found.push(part);
    }
}

/// The spectral radius of a matrix without negative entries, given as entries by row and column.
/// Power iteration on the matrix plus one, so that circles of any length settle.
pub(crate) fn spectral_radius(entries: &BTreeMap<(u32, u32), f64>) -> f64 {
    let nodes: BTreeSet<u32> = entries.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let place: BTreeMap<u32, usize> = nodes.iter().enumerate().map(|(place, node)| (*node, place)).collect();
    let links: Vec<(usize, usize, f64)> = entries
        .iter()
        .map(|((from, to), value)| (place[from], place[to], *value))
        .collect();
    let mut vector = vec![1.0; nodes.len()];
    let mut radius = 0.0;
    for _ in 0..200 {
        let mut image = vector.clone();
        for (from, to, value) in &links {
            image[*from] += value * vector[*to];
        }
        let norm = image.iter().copied().fold(0.0, f64::max);
        if norm <= 0.0 {
            return 0.0;
        }
        image.iter_mut().for_each(|value| *value /= norm);
        let settled = (norm - 1.0 - radius).abs() < 1e-6;
        radius = norm - 1.0;
        vector = image;
        if settled {
            break;
        }
    }
    radius
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let edges = BTreeSet::from([(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (6, 6), (7, 8)]);
        let mut found = circles(&edges);
        found.sort();
        assert_eq!(found, [BTreeSet::from([1, 2, 3]), BTreeSet::from([6])]);
        assert!(circles(&BTreeSet::from([(1, 2), (2, 3), (1, 3)])).is_empty());
    }

    #[test]
    fn the_radius_is_that_of_known_matrices() {
        let close = |entries: &[((u32, u32), f64)], expected: f64| {
            let radius = spectral_radius(&entries.iter().copied().collect());
            assert!((radius - expected).abs() < 1e-3, "{radius} instead of {expected}");
        };
        close(&[((1, 1), 2.0)], 2.0);
        close(&[((1, 2), 4.0), ((2, 1), 1.0)], 2.0);
        close(&[((1, 2), 0.5), ((2, 3), 1.0), ((3, 1), 2.0)], 1.0);
        close(&[((1, 1), 1.0), ((1, 2), 1.0), ((2, 1), 1.0)], 1.618);
        close(&[], 0.0);
    }

    #[test]
    fn a_long_circle_settles() {
        let entries: BTreeMap<(u32, u32), f64> = (0..50).map(|node| ((node, (node + 1) % 50), 1.3)).collect();
        assert!((spectral_radius(&entries) - 1.3).abs() < 1e-3);
    }
}
