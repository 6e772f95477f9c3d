"""What the estimators share: arguments, the way from X to a matrix, the training of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass, field, replace
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np

from nnrec.data import Cleaning, CleaningReport, Features, Table, equal_rows, split
from nnrec.estimators.rows import Rows, is_table, matrix, scikit_learns, warn_of_label
from nnrec.nn import (
    L2,
    Adam,
    Dense,
    Dropout,
    EarlyStopping,
    History,
    LinearDecay,
    Network,
    Optimizer,
    ReLU,
    Sigmoid,
    Tanh,
)
from nnrec.nn.arguments import Array, Described, real_number, whole_number

ACTIVATIONS: Mapping[str, Any] = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}


@dataclass(eq=False, repr=False)
class NeuralEstimator(Described):
    """What `NeuralClassifier` and `NeuralRegressor` have in common.

    X is a table (whatever `Table.of` takes: a dict, a data frame, …) or an array (n, d), CSR too.
    y is (n,), or the name of the table's column that holds it.

    - A table goes through `cleaning` and `features` (None: by what each column holds), which learn
      from the training rows only.  Every row that is to be predicted gets its estimate.  Columns
      may stand in any order; one that training did not have is ignored; one that was learned from
      and is absent is a ValueError; unknown categories and missing values: see `Features`.
    - A dense array is standardised by the training rows' means and deviations; CSR stays as it is.
      NaN, infinities and numbers beyond ±1e150 are a ValueError.

    hidden: units of each hidden layer; () is a linear model.  activation: "relu", "sigmoid" or
    "tanh".  epochs: None is 10, or with few rows as many as make 500 steps.  optimizer: None is
    Adam(); a copy is used.  decay: a learning rate that is a number falls in a straight line to 0
    at the last epoch; a schedule stays what it is.  l2: the strength of an `L2` penalty.

    validation_split: the share of rows held out for `early_stopping` (patience in epochs on the
    held-out loss, whose best θ is kept; 0: off) and for `histories_`.  Equal rows of a table stay
    together, classes keep their proportions.  `fit(…, validation_data=(X, y))` holds out other
    rows, later ones for example.  ensemble: the number of networks, with first weights and orders
    of rows of their own; the mean of their outputs is taken before the link.

    dtype: "float64" or "float32".  random_state: an int (equal bits every time), a Generator or
    None; it is the networks' `rng`.  verbose: 1 shows progress.

    After fit: networks_, n_features_in_; of a table feature_names_in_, features_, cleaning_; and,
    not filed, histories_ and cleaning_report_.

    >>> from nnrec.estimators import NeuralRegressor
    >>> NeuralRegressor((64,), epochs=20).set_params(epochs=30)
    NeuralRegressor(hidden=(64,), epochs=30)
    """

    learned: ClassVar[tuple[str, ...]] = (
        *("n_features_in_", "feature_names_in_", "cleaning_", "features_"),
        *("center_", "scale_", "networks_"),
    )
    estimates: ClassVar[str]  # what scikit-learn calls the kind

    hidden: Sequence[int] = (128, 64, 32)
    activation: str = "relu"
    dropout: float = 0.2
    _: KW_ONLY
    epochs: int | None = None
    batch_size: int = 32
    optimizer: Optimizer | None = None
    decay: bool = True
    l2: float = 0.0
    validation_split: float = 0.0
    early_stopping: int = 0
    ensemble: int = 1
    cleaning: Cleaning | None = None
    features: Features | None = None
    dtype: str = "float64"
    random_state: Any = None
    verbose: int = 0

    n_features_in_: int = field(init=False)
    feature_names_in_: Array = field(init=False)
    cleaning_: Cleaning | None = field(init=False)
    cleaning_report_: CleaningReport = field(init=False)
    features_: Features = field(init=False)
    center_: Array = field(init=False)
    scale_: Array = field(init=False)
    networks_: list[Network] = field(init=False)
    histories_: list[History] = field(init=False)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of the constructor, from the next fit on."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"{self!r} has no argument {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        callbacks: Sequence[Any] = (),
    ) -> Self:
        """Learn from rows X, their y and weights (n,); what was learned before is forgotten.

        validation_data: (X, y) or (X, y, sample_weight), held out in place of a validation_split.
        callbacks: of the one network's training, as `Network.fit` takes them.
        """
        self.check_arguments()
        if callbacks and self.ensemble > 1:
            raise ValueError(f"callbacks are told of one training; ensemble={self.ensemble}")
        rows = self.rows(X, y, sample_weight)
        held = None if validation_data is None else self.rows(*validation_data)
        rng = np.random.default_rng(self.random_state)
        for name in (*self.learned, "cleaning_report_", "histories_"):
            vars(self).pop(name, None)
        if held is None and self.validation_split:
            shares = {"train": 1 - self.validation_split, "held": self.validation_split}
            groups = equal_rows(rows.X) if isinstance(rows.X, Table) else None
            parts = split(
                rows, shares, stratify=self.strata(rows.y), groups=groups, rng=rng.spawn(1)[0]
            )
            rows, held = rows.take(parts["train"]), rows.take(parts["held"])
        elif held is None and self.needs_held_out():
            raise ValueError(f"{self!r} needs validation_split > 0, or fit(…, validation_data=…)")
        rows = self.fit_inputs(rows, y if isinstance(y, str) else None)
        if held is not None:
            held.X = self.inputs(held.X)
        self.fit_target(rows, held)
        self.fit_networks(rows, held, rng, callbacks)
        return self

    def check_arguments(self) -> None:
        """Raise unless the constructor's arguments make sense."""
        name = type(self).__name__
        if self.activation not in ACTIVATIONS:
            expected = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"{name}: activation={self.activation!r}, expected {expected}")
        if not isinstance(self.hidden, list | tuple | np.ndarray):
            raise TypeError(f"{name}: hidden={self.hidden!r}, expected units by layer, (64, 32)")
        for units in self.hidden:
            whole_number(name, "hidden", units)
        kinds = {"cleaning": Cleaning, "features": Features, "optimizer": Optimizer}
        for argument, kind in kinds.items():
            value = getattr(self, argument)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name}: {argument}={value!r}, expected a {kind.__name__} or None")
        for argument in ("epochs", "batch_size", "ensemble"):
            if argument != "epochs" or self.epochs is not None:
                whole_number(name, argument, getattr(self, argument))
        whole_number(name, "early_stopping", self.early_stopping, least=0)
        for argument in ("dropout", "validation_split"):
            real_number(name, argument, getattr(self, argument), below=1)

    def needs_held_out(self) -> bool:
        """Whether fit can't do without held-out rows."""
        return bool(self.early_stopping)

    def rows(self, X: Any, y: Any, weight: Any = None) -> Rows:
        """X, y and weights, checked; the label's column is not among X."""
        if y is None:
            name = type(self).__name__
            raise ValueError(f"{name} requires y to be passed, but the target y is None")
        if is_table(X):
            X = Table.of(X)
            label = y if isinstance(y, str) else getattr(self.cleaning, "label", None)
            y = X[y] if isinstance(y, str) else y
            X = X.without(label) if label in X else X
        else:
            X = matrix(X)
            if isinstance(y, str):
                raise TypeError(f"y={y!r} names a column, but X is an array")
            if self.cleaning is not None or self.features is not None:
                raise TypeError("cleaning and features are of a table's columns; X is an array")
        return Rows(X, self.target(y), weight)

    def fit_inputs(self, rows: Rows, label: str | None) -> Rows:
        """Learn from the training rows how X becomes a matrix; they, with that matrix."""
        X = rows.X
        if isinstance(X, Table):
            warn_of_label(rows)
            self.n_features_in_, self.feature_names_in_ = len(X.names), np.array(X.names, object)
            self.cleaning_ = None
            if self.cleaning is not None:
                rows = self.fit_cleaning(self.cleaning, rows, label or self.cleaning.label or "y")
            features = self.features or Features()
            self.features_ = Features(features.encodings, features.infer).fit(rows.X)
            return replace(rows, X=self.features_.transform(rows.X))
        self.n_features_in_ = X.shape[1]
        self.center_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if isinstance(X, np.ndarray):
            self.center_ = X.mean(axis=0, dtype=float)
            varies = X.min(axis=0) < X.max(axis=0)
            self.scale_[varies] = X.std(axis=0, dtype=float)[varies]
        return replace(rows, X=self.scaled(X))

    def fit_cleaning(self, cleaning: Cleaning, rows: Rows, label: str) -> Rows:
        """Clean; the rules see y as a column, since rows of unequal y are no duplicates."""
        while label in rows.X:
            label += "'"
        self.cleaning_ = Cleaning(cleaning.rules, label)
        table, report = self.cleaning_.fit_transform(rows.X.with_columns({label: rows.y}))
        self.cleaning_report_ = report
        return replace(rows.take(report.kept), X=table.without(label))

    def inputs(self, X: Any) -> Any:
        """The matrix of rows that are to be predicted."""
        name = type(self).__name__
        if not hasattr(self, "n_features_in_"):
            kind = scikit_learns("NotFittedError", ValueError)
            raise kind(f"this {name} is not fitted yet; call fit first")
        if is_table(X) != hasattr(self, "features_"):
            given, fitted = ("a table", "an array") if is_table(X) else ("an array", "a table")
            raise ValueError(f"X is {given}; this {name} was fitted on {fitted}")
        if not is_table(X):
            return self.scaled(matrix(X))
        table = Table.of(X)
        if self.cleaning_ is not None:
            # A column of the label's name may hold anything: it is no input.
            inputs = [name for name in table if name != self.cleaning_.label]
            table, _ = self.cleaning_.transform({name: table[name] for name in inputs})
        return self.features_.transform(table)

    def scaled(self, X: Any) -> Any:
        """A matrix standardised; CSR as it is, unless the training rows were dense."""
        if X.shape[1] != self.n_features_in_:
            expected = f"{type(self).__name__} is expecting {self.n_features_in_} features as input"
            raise ValueError(f"X has {X.shape[1]} features, but {expected}")
        if not isinstance(X, np.ndarray):
            if not self.center_.any():
                return X
            X = X.toarray()
        return ((X - self.center_) / self.scale_).astype(self.dtype, copy=False)

    def fit_networks(self, rows: Rows, held: Rows | None, rng: Any, callbacks: Any) -> None:
        """Train the networks, one after the other."""
        loss, outputs = self.loss(rows)
        widths, layers = [rows.X.shape[1], *map(int, self.hidden)], []
        initializer = "he" if self.activation == "relu" else "glorot"
        for before, after in zip(widths, widths[1:]):
            layers += [Dense(before, after, initializer), ACTIVATIONS[self.activation]()]
            layers += [Dropout(self.dropout)] if self.dropout else []
        layers += [Dense(widths[-1], outputs)]
        batches = -(-len(rows) // self.batch_size)
        epochs = max(10, -(-500 // batches)) if self.epochs is None else self.epochs
        optimizer = self.optimizer or Adam()
        optimizer = optimizer_for(optimizer, epochs * batches) if self.decay else optimizer
        self.networks_, self.histories_ = [], []
        for _ in range(self.ensemble):
            penalty = L2(self.l2) if self.l2 else ()
            network = Network(layers, loss, rng=rng, dtype=self.dtype, penalty=penalty)
            stopping = [EarlyStopping(patience=self.early_stopping)] if self.early_stopping else []
            history = network.fit(
                rows.X,
                rows.y,
                sample_weight=rows.weight,
                validation_data=None if held is None else (held.X, held.y, held.weight),
                optimizer=deepcopy(optimizer),
                epochs=epochs,
                batch_size=self.batch_size,
                callbacks=[*stopping, *callbacks],
                verbose=self.verbose,
            )
            self.networks_.append(network)
            self.histories_.append(history)
            if history.interrupted:
                break

    def raw(self, inputs: Any) -> Array:
        """The networks' mean output before the link, (n, outputs) float64."""
        outputs = [network.predict(inputs, link=False) for network in self.networks_]
        return np.asarray(np.mean(outputs, axis=0, dtype=float))

    def target(self, y: Any) -> Array:
        """y, checked."""
        raise NotImplementedError

    def strata(self, y: Array) -> Array | None:
        """Whose proportions a split keeps."""
        return None

    def fit_target(self, rows: Rows, held: Rows | None) -> None:
        """Learn from the training rows how y becomes the networks' target; change y to it."""
        raise NotImplementedError

    def loss(self, rows: Rows) -> tuple[Any, int]:
        """The networks' loss and number of outputs."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        from sklearn import utils

        regressor = self.estimates == "regressor"
        return utils.Tags(
            estimator_type=self.estimates,
            target_tags=utils.TargetTags(required=True, multi_output=regressor),
            classifier_tags=None if regressor else utils.ClassifierTags(),
            regressor_tags=utils.RegressorTags() if regressor else None,
            input_tags=utils.InputTags(sparse=True),
        )


def optimizer_for(optimizer: Optimizer, steps: int) -> Optimizer:
    """A copy whose learning rates, where they are numbers, fall to 0 over so many steps.

    >>> optimizer_for(Adam(0.1), 70).learning_rate
    LinearDecay(start=0.1, steps=70, end=0.0)
    """
    mine = deepcopy(optimizer)
    given = mine.learning_rate
    rates = given if isinstance(given, Mapping) else {"*": given}
    falling = {k: r if callable(r) else LinearDecay(r, steps) for k, r in rates.items()}
    mine.learning_rate = falling if isinstance(given, Mapping) else falling["*"]
    return mine
