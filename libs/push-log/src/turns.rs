//! Whose rows are made durable next.
//!
//! Half of a segment is for those who bring least, so that nobody with a few rows stands in line behind those with many; the
//! rest is for those who came first, so that they get on whoever comes. Where both do not fit into one segment there are two.

/// What somebody brings, or a segment takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    pub(crate) rows: usize,
}

impl Size {
    const NOTHING: Self = Self { bytes: 0, rows: 0 };

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), rows: self.rows.saturating_add(other.rows) }
    }

    fn fits(self, most: Self) -> bool {
        self.bytes <= most.bytes && self.rows <= most.rows
    }
}

/// The next segments, the places in them of those who wait, in the order in which they came. Whoever came first is in one of
/// them, and in a segment of its own where it brings more than one takes.
pub(crate) fn next_groups(waiting: &[Size], most: Size) -> Vec<Vec<usize>> {
    let (mut group, mut taken) = few(waiting, Size { bytes: most.bytes / 2, rows: most.rows / 2 });
    let mut is_taken = vec![false; waiting.len()];
    group.iter().for_each(|place| is_taken[*place] = true);
    let mut groups = Vec::new();
    let others = (0..waiting.len()).filter(|place| !is_taken[*place]);
    for (before, place) in others.enumerate() {
        if !taken.plus(waiting[place]).fits(most) && !group.is_empty() {
            if before > 0 {
                break;
            }
            groups.push(std::mem::take(&mut group));
            taken = Size::NOTHING;
        }
        group.push(place);
        taken = taken.plus(waiting[place]);
    }
    groups.push(group);
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

/// Those who bring least, as far as they fit, and what they bring.
fn few(waiting: &[Size], most: Size) -> (Vec<usize>, Size) {
    let mut by_size: Vec<usize> = (0..waiting.len()).collect();
    // Stable: of those with equally much, the first.
    by_size.sort_by_key(|place| waiting[*place]);
    let mut taken = Size::NOTHING;
    let fits = |place: &usize| {
        let with = taken.plus(waiting[*place]);
        let fits = with.fits(most);
        if fits {
            taken = with;
        }
        fits
    };
    let few = by_size.into_iter().take_while(fits).collect();
    (few, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Size = Size { bytes: 800, rows: 100 };

    fn groups(bytes: &[usize]) -> Vec<Vec<usize>> {
        let waiting: Vec<Size> = bytes.iter().map(|bytes| Size { bytes: *bytes, rows: 1 }).collect();
        next_groups(&waiting, MOST)
    }

    #[test]
    fn whoever_brings_little_is_in_the_first_segment_and_whoever_came_first_in_the_next() {
        assert_eq!(groups(&[1_000, 1_000, 1_000, 1]), [vec![3], vec![0]]);
        assert_eq!(groups(&[500, 500, 1, 2]), [[0, 2, 3]]);
        // Those who bring little have half, however many they are.
        let many = [vec![700], vec![100; 20]].concat();
        assert_eq!(groups(&many), [vec![1, 2, 3, 4], vec![0, 5]]);
        let rows = Size { bytes: 1, rows: 40 };
        assert_eq!(next_groups(&[rows, rows, Size { rows: 60, ..rows }, rows], MOST), [[0, 1]]);
    }

    #[test]
    fn a_segment_is_full_where_it_can_be() {
        assert_eq!(groups(&[3]), [[0]]);
        assert_eq!(groups(&[3, 4, 5]), [[0, 1, 2]]);
        assert_eq!(groups(&[300, 300, 300, 300]), [[0, 1]]);
        assert_eq!(groups(&[900, 900]), [[0]]);
    }

    /// Of those who wait, as many come again as were taken.
    #[test]
    fn everybody_gets_on_whoever_comes() {
        let mut waiting = vec![(usize::MAX, 900); 3];
        for round in 0..4 {
            waiting.extend((0..30).map(|_| (round, 10)));
            let sizes: Vec<Size> = waiting.iter().map(|(_, bytes)| Size { bytes: *bytes, rows: 1 }).collect();
            let groups = next_groups(&sizes, MOST);
            for group in &groups {
                let bytes: usize = group.iter().map(|place| waiting[*place].1).sum();
                assert!(bytes <= MOST.bytes || group.len() == 1, "{bytes} bytes in a segment");
            }
            let taken = groups.concat();
            assert!(taken.contains(&0), "whoever came first has a turn");
            let mut place = 0..;
            waiting.retain(|_| !place.next().is_some_and(|place| taken.contains(&place)));
        }
        assert!(waiting.iter().all(|(_, bytes)| *bytes == 10));
    }
}
