"""Who the customers of the example are, and what is observed of them at a time.

A customer is a row number; their traits never change and come from the seed alone. Observations scatter around the
traits, so that features agree with one another and with the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SECOND = 1_000_000  # microseconds, as all times here
HOUR = 3600 * SECOND
DAY = 24 * HOUR
YEAR = 365.25 * DAY

# What a customer's rows in a batch source look like at the end of the history.
ORDINARY, ABSENT, TOO_OLD, EXPIRING = range(4)


def random_stream(seed: int, *purpose: int) -> np.random.Generator:
    """A stream of its own for each purpose: adding one changes no other."""
    return np.random.default_rng([seed, *purpose])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


@dataclass(frozen=True)
class Population:
    """One entry a customer. Years are counted at `end`."""

    end: int
    risk: np.ndarray  # how likely to default, standard normal
    fraudster: np.ndarray  # whether somebody else uses the account
    age: np.ndarray
    income: np.ndarray
    employed: np.ndarray
    credit_history: np.ndarray
    credit_lines: np.ndarray
    pace: np.ndarray  # transactions a day
    amount: np.ndarray  # of a usual transaction
    region: np.ndarray  # standard normal
    customer_rows: np.ndarray  # ORDINARY, TOO_OLD, EXPIRING
    transaction_rows: np.ndarray  # ORDINARY, ABSENT, TOO_OLD, EXPIRING

    def __len__(self) -> int:
        return len(self.risk)

    @staticmethod
    def draw(customers: int, seed: int, end: int) -> Population:
        rng = random_stream(seed, 0)
        risk = rng.standard_normal(customers)
        age = 18 + 62 * rng.beta(1.7, 2.6, customers)
        adult_years = age - 18
        income = np.exp(10.5 - 0.2 * risk + 0.35 * rng.standard_normal(customers)) * (0.7 + 0.6 * adult_years / 62)
        return Population(
            end=end,
            risk=risk,
            fraudster=rng.random(customers) < 0.02,
            age=age,
            income=income,
            employed=adult_years * rng.beta(1.2, 3.0, customers),
            credit_history=adult_years * rng.beta(3.0, 1.5, customers),
            credit_lines=rng.poisson(3 + 2 * sigmoid(risk)),
            pace=np.exp(0.3 + 0.6 * rng.standard_normal(customers)),
            amount=np.exp(3.2 + 0.5 * rng.standard_normal(customers)) * (income / 40_000) ** 0.5,
            region=rng.standard_normal(customers),
            customer_rows=rng.choice([ORDINARY, TOO_OLD, EXPIRING], customers, p=[0.96, 0.02, 0.02]),
            transaction_rows=rng.choice([ORDINARY, ABSENT, TOO_OLD, EXPIRING], customers, p=[0.88, 0.06, 0.04, 0.02]),
        )


def customer_values(people: Population, who: np.ndarray, when: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The features of `customer_features` of customers `who` at the times `when`."""

    def noise() -> np.ndarray:
        return rng.standard_normal(len(who))

    years_ago = (people.end - when) / YEAR
    risk, fraudster = people.risk[who], people.fraudster[who]
    late_12m = sigmoid(-3.0 + 0.9 * risk + 0.5 * noise())
    count_3m = rng.poisson(90 * people.pace[who] * rng.choice([0.0, 1.0], len(who), p=[0.01, 0.99]))
    amount = people.amount[who] * np.exp(0.2 * noise())
    return {
        "age": np.floor(people.age[who] - years_ago).astype(np.int64),
        "income": np.round(people.income[who] * np.exp(-0.03 * years_ago + 0.04 * noise()), 2),
        "employment_years": np.round(np.maximum(0.0, people.employed[who] - years_ago), 2),
        "credit_history_length": np.round(np.maximum(0.0, people.credit_history[who] - years_ago), 2),
        "num_credit_lines": np.maximum(0, people.credit_lines[who] + rng.integers(-1, 2, len(who))),
        "debt_ratio": np.round(sigmoid(-0.8 + 0.6 * risk + 0.3 * noise()), 4),
        "revolving_utilization": np.round(sigmoid(-0.4 + 0.8 * risk + 0.4 * noise()), 4),
        "late_payment_ratio_6m": np.round(np.minimum(1.0, late_12m * np.exp(0.4 * noise())), 4),
        "late_payment_ratio_12m": np.round(late_12m, 4),
        # A mean over nothing is NaN, which is a value and not a null.
        "avg_transaction_amount_3m": np.where(count_3m > 0, np.round(amount, 2), np.nan),
        "transaction_count_3m": count_3m,
        "high_risk_transaction_ratio": np.round(sigmoid(-3.0 + 0.5 * risk + 1.5 * fraudster + 0.5 * noise()), 4),
        "geographic_risk_score": np.round(sigmoid(-1.0 + 0.8 * people.region[who] + 0.1 * noise()), 4),
    }


def transaction_values(people: Population, who: np.ndarray, when: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The features of `transaction_features` of customers `who` at the times `when`."""

    def noise() -> np.ndarray:
        return rng.standard_normal(len(who))

    risk, fraudster = people.risk[who], people.fraudster[who]
    deviation = noise() + 1.5 * fraudster
    daily = people.pace[who] * np.exp(0.3 * deviation)
    total_30d = 30 * daily * people.amount[who] * np.exp(0.2 * noise())
    greatest = np.minimum(total_30d, people.amount[who] * np.exp(1.2 + 0.5 * np.abs(noise())))
    return {
        "total_transaction_amount_7d": np.round(total_30d * rng.beta(7, 23, len(who)), 2),
        "total_transaction_amount_30d": np.round(total_30d, 2),
        "avg_daily_transactions_30d": np.round(daily, 3),
        "max_transaction_amount_30d": np.round(greatest, 2),
        # Rounding gives -0.0 now and then, which must come through as it is.
        "transaction_frequency_score": np.round(deviation, 2),
        "unusual_transaction_pattern": rng.random(len(who)) < sigmoid(-3.2 + 0.4 * risk + 2.5 * fraudster),
        "merchant_risk_score": np.round(sigmoid(-1.2 + 0.5 * risk + 0.8 * fraudster + 0.5 * noise()), 4),
        "international_transaction_ratio": np.round(rng.beta(1.0, 9.0, len(who)), 4),
    }


def real_time_values(people: Population, who: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The features of `real_time_features` of customers `who`."""
    risk, fraudster = people.risk[who], people.fraudster[who]
    scatter = rng.standard_normal((4, len(who)))
    return {
        "current_balance": np.round(people.income[who] / 12 * (1.0 - 0.6 * risk + 1.2 * scatter[0]), 2),
        "last_transaction_amount": np.round(people.amount[who] * np.exp(0.7 * scatter[1]), 2),
        "login_attempts_24h": rng.poisson(1.2 + 6.0 * fraudster),
        "device_fingerprint_score": np.round(sigmoid(-1.6 + 3.0 * fraudster + 0.7 * scatter[2]), 4),
        "ip_risk_score": np.round(sigmoid(-1.5 + 2.0 * fraudster + 0.8 * scatter[3]), 4),
        "session_duration": np.round(rng.gamma(2.0, 150.0, len(who)) * np.where(fraudster, 0.4, 1.0), 1),
    }


def default_probability(people: Population, who: np.ndarray, loan_amount: np.ndarray) -> np.ndarray:
    """How likely each loan is not paid back: the truth behind the label, which no feature shows as it is."""
    burden = loan_amount / people.income[who]
    return sigmoid(-2.6 + 1.3 * people.risk[who] + 1.0 * np.minimum(burden, 2.0) + 1.5 * people.fraudster[who])
