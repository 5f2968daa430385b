//! The way between wallets and ledger: it loses questions and answers, brings questions twice, and
//! answers in another order.

use weir_ledger::protocol::{Answer, Exchange};

/// What goes wrong, by chance, but the same each time.
pub(super) struct Network {
    /// Of a hundred messages.
    percent: u64,
    random: u64,
    /// One that was asked before.
    earlier: Option<Exchange>,
    /// Not arrived yet, and for which node.
    late: Vec<(usize, Answer)>,
}

impl Network {
    /// Of a hundred messages each way so many are lost or late, and of the questions as many
    /// come again.
    pub(super) fn failing(percent: u64) -> Self {
        Self {
            percent,
            random: 1,
            earlier: None,
            late: Vec::new(),
        }
    }

    fn happens(&mut self) -> bool {
        // Knuth's generator; its high bits are good enough.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < self.percent
    }

    pub(super) fn loses(&mut self) -> bool {
        self.happens()
    }

    pub(super) fn remember(&mut self, question: &Exchange) {
        if self.happens() {
            self.earlier = Some(question.clone());
        }
    }

    /// An earlier question comes once more.
    pub(super) fn comes_again(&mut self) -> Option<Exchange> {
        let again = self.happens();
        self.earlier.take_if(|_| again)
    }

    pub(super) fn delay(&mut self, node: usize, answer: Answer) {
        if self.happens() {
            self.late.push((node, answer));
        }
    }

    /// An answer to an earlier question of this node comes at last.
    pub(super) fn comes_late(&mut self, node: usize) -> Option<Answer> {
        let place = self.late.iter().position(|(of, _)| *of == node)?;
        Some(self.late.swap_remove(place).1)
    }
}
