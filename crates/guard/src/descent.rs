//! From which requests from outside a request descends, and with what weight.

use std::sync::Arc;

/// A request from outside, from which calls descend.
pub(crate) type RootId = u64;

/// The weight of one call; shares of it are whole numbers, so that none of it gets lost.
pub(crate) const WHOLE: u32 = 1 << 16;

/// Most roots that one request is said to descend from. Of more, a fair sample is taken: each
/// with the chance that its weight gives it, so that sums stay right on average.
const MOST_ROOTS: usize = 32;

/// Roots with shares that sum up to [`WHOLE`].
#[derive(Debug, Clone)]
pub(crate) enum Descent {
    /// One root, for certain.
    One(RootId),
    /// Several, each with its share, in the order of their ids.
    Several(Arc<[(RootId, u32)]>),
}

impl Descent {
    /// Equal shares of all parents, split over their roots. `None` without parents. `chance` is
    /// any number that differs from call to call.
    pub(crate) fn of_parents<'a>(parents: impl ExactSizeIterator<Item = &'a Self>, chance: u64) -> Option<Self> {
        let count = parents.len() as u64;
        let mut shares: Vec<(RootId, u32)> = Vec::with_capacity(parents.len().max(4));
        for (position, parent) in parents.enumerate() {
            let share = part(position as u64, count, u64::from(WHOLE));
            parent.add_to(&mut shares, share);
        }
        shares.sort_unstable_by_key(|(root, _)| *root);
        shares.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 += later.1;
            }
            same
        });
        shares.retain(|(_, share)| *share > 0);
        if shares.len() > MOST_ROOTS {
            shares = sample(&shares, chance);
        }
        match shares.as_slice() {
            [] => None,
            [(root, _)] => Some(Self::One(*root)),
            _ => Some(Self::Several(shares.into())),
        }
    }

    /// Each root with its share.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (RootId, u32)> {
        let (one, several) = match self {
            Self::One(root) => (Some((*root, WHOLE)), None),
            Self::Several(shares) => (None, Some(shares.iter().copied())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// The root with the largest share.
    pub(crate) fn heaviest(&self) -> RootId {
        self.shares()
            .max_by_key(|(_, share)| *share)
            .map_or(0, |(root, _)| root)
    }

    fn add_to(&self, shares: &mut Vec<(RootId, u32)>, amount: u32) {
        let mut before = 0_u64;
        for (root, share) in self.shares() {
            let after = before + u64::from(share);
            let of = |sum: u64| sum * u64::from(amount) / u64::from(WHOLE);
            shares.push((root, u32::try_from(of(after) - of(before)).unwrap_or(0)));
            before = after;
        }
    }
}

/// The share of one out of `count`, so that all of them sum up to `total` exactly.
pub(crate) fn part(position: u64, count: u64, total: u64) -> u32 {
    let upto = |position: u64| position * total / count.max(1);
    u32::try_from(upto(position + 1) - upto(position)).unwrap_or(u32::MAX)
}

/// Systematic sampling: equidistant points, moved by chance, over the shares laid end to end.
fn sample(shares: &[(RootId, u32)], chance: u64) -> Vec<(RootId, u32)> {
    let step = u64::from(WHOLE) / MOST_ROOTS as u64;
    let mut point = scatter(chance) % step;
    let mut chosen: Vec<(RootId, u32)> = Vec::with_capacity(MOST_ROOTS);
    let mut sum = 0_u64;
    for (root, share) in shares {
        sum += u64::from(*share);
        let mut taken = 0;
        while point < sum {
            taken += u32::try_from(step).unwrap_or(0);
            point += step;
        }
        if taken > 0 {
            chosen.push((*root, taken));
        }
    }
    chosen
}

/// Spreads the bits of a number (the finaliser of splitmix64).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descent() -> impl Strategy<Value = Descent> {
        (prop::collection::vec(1_u64..500, 1..60), any::<u64>()).prop_map(|(roots, chance)| {
            let ones: Vec<Descent> = roots.into_iter().map(Descent::One).collect();
            Descent::of_parents(ones.iter(), chance).unwrap()
        })
    }

    proptest! {
        #[test]
        fn no_weight_gets_lost_however_often_it_is_split(
            parents in prop::collection::vec(descent(), 1..90),
            chance in any::<u64>(),
        ) {
            let child = Descent::of_parents(parents.iter(), chance).unwrap();
            prop_assert_eq!(child.shares().map(|(_, share)| u64::from(share)).sum::<u64>(), u64::from(WHOLE));
            prop_assert!(child.shares().count() <= MOST_ROOTS);
        }
    }

    #[test]
    fn a_sample_is_fair_on_average() {
        // One root with half of the weight among 99 others.
        let heavy = Descent::One(1);
        let light: Vec<Descent> = (2..101).map(Descent::One).collect();
        let parents: Vec<&Descent> = light.iter().flat_map(|one| [&heavy, one]).collect();
        let mean = (0..2_000_u64)
            .filter_map(|chance| Descent::of_parents(parents.iter().copied(), chance))
            .filter_map(|child| {
                child
                    .shares()
                    .find(|(root, _)| *root == 50)
                    .map(|(_, share)| u64::from(share))
            })
            .sum::<u64>()
            / 2_000;
        let exact = u64::from(WHOLE) / 198;
        assert!(mean.abs_diff(exact) <= exact / 10, "{mean} is far from {exact}");
    }
}
