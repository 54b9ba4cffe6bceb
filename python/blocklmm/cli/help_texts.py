"""What ``--help`` says above and below the options."""

PROGRAM = """\
Linear mixed-effects models on large data: lme4's models and numbers, from one pass over the rows.

  blocklmm fit sleep.csv 'Reaction ~ Days + (Days | Subject)' --out fit.json
  blocklmm compare sleep.csv 'Reaction ~ Days + (1 | Subject)' \\
                             'Reaction ~ Days + (Days | Subject)'
  blocklmm fit sleep.csv 'Reaction ~ Days + (Days | Subject)' --save sleep.blmm
  blocklmm predict sleep.blmm new.csv --interval prediction --out predicted.csv

'blocklmm COMMAND --help' explains formulas, data and files."""

EXITS = """\
exit status:
  0    done
  1    the data or the model can't be fitted, or a file can't be read or written
  2    the arguments are wrong
  3    fitted and written, but not certified to be optimal
  130  interrupted (Ctrl-C); no file is left half-written
  141  standard output was closed, as by '| head'; files are written all the same
Errors and warnings are on standard error, in lines that begin with 'blocklmm: '."""

FORMULAS = """\
formulas:
  The response, '~', fixed effects and random effects, in quotes for the shell:
    y ~ x + (1 | g)        x for all; an intercept of its own for each level of column g
    y ~ x + (x | g)        an intercept and a slope of x for each level, correlated
    y ~ x + (x || g)       the same, independent
    y ~ a * x + (1 | s/c)  a, x and their interaction; levels of c within those of s
    log(y) ~ poly(x, 2) + factor(k) + (1 | g) + (1 | h)
                           functions; numbers as categories; crossed groups
    y ~ `body mass` + (1 | g)
                           names that are not plain words stand in backticks
  Columns of text are categories. Without a term in bars it is a linear model.
"""

DATA = """\
data:
  A name that ends in .csv, .tsv or .txt (and .gz, .bz2, .xz, .zst or .zip) is a CSV file with a
  line of column names, read as a whole; so is '-', standard input. Empty fields, NA, NaN, N/A,
  NULL, null, <NA> and #N/A are no value, others with --na; a column of numbers that holds another
  text is refused, unless it is in C(). Groups are texts where one of them has a leading zero:
  007 is not 7. Any other name is a Parquet file, a folder of them or a glob, as
  'rows/*.parquet'; it is read in chunks and may be larger than memory.
"""

FIT = (
    """\
Fit a linear mixed-effects model and print its summary.

  blocklmm fit sleep.csv 'Reaction ~ Days + (Days | Subject)'
  blocklmm fit sleep.csv 'Reaction ~ Days + (Days | Subject)' --ddf kenward-roger \\
               --out fit.json --ranef subjects.csv --fitted fitted.parquet
  blocklmm fit 'rows/*.parquet' 'y ~ t + (t | id)' --quiet --out - | jq .AIC""",
    """\
files:
  Each is there as a whole, or as it was before.
  --out     JSON: format "blocklmm.fit" and version 1; blocklmm (its version), data, formula,
            method (REML, ML), weights; nobs, ngroups, dropped_rows (n_rows, by_column),
            dropped_columns; objective (REML criterion, or deviance), logLik, AIC, BIC,
            n_parameters, df_resid; ddf, level, fixed_effects (term, estimate, std_error, statistic,
            df, p_value, conf_low, conf_high); variance_components (label, group, name1, name2,
            vcov, sdcor: a variance and its root, or a covariance and a correlation); theta, sigma;
            converged, singular, certificate (gradient, min_eigenvalue, n_evaluations, message).
            Numbers that are not finite are null (infinite df, with --ddf asymptotic, too).
  --ranef   one row for each level and random effect: group, level, term, estimate (BLUP),
            std_error (conditional standard deviation); levels are text
  --fitted  the columns that the model reads, .fitted, .fixed (fixed effects alone), .resid; one
            row for each row of the data, without values where one was left out
  --save    the model's sufficient statistics, for 'blocklmm predict' and Python's
            SufficientStatistics.load; no rows, but rows of small groups could be told from it
  CSV files have commas, decimal points and UTF-8.
""",
)

COMPARE = (
    """\
Compare models of the same response: likelihood-ratio tests of each against the next smaller one
(with p-values for variances on the boundary), AIC, Akaike weights, BIC and conditional AIC.

  blocklmm compare sleep.csv 'Reaction ~ Days + (1 | Subject)' \\
                             'Reaction ~ Days + (Days | Subject)'

REML fits that differ in their fixed effects are refitted by maximum likelihood. All models must be
fitted to the same rows: those that miss a value of one model's columns alone are an error.""",
    """\
files:
  --out     JSON: format "blocklmm.comparison" and version 1; blocklmm (its version), data, weights;
            tests (a row for each model, fewest parameters first: formula, npar, AIC, BIC, logLik,
            deviance, Chisq, Df, p_chisq, p_boundary), tests_notes; criteria (smallest AIC first:
            formula, npar, logLik, AIC, delta_AIC, akaike_weight, BIC, cAIC), criteria_notes;
            converged (of each formula). Numbers that are not finite are null.
""",
)

PREDICT = (
    """\
Predict the response of new rows, by a model that 'blocklmm fit --save' has kept, or by one that is
fitted to data first.

  blocklmm fit sleep.csv 'Reaction ~ Days + (Days | Subject)' --quiet --save sleep.blmm
  blocklmm predict sleep.blmm new.csv --interval prediction --out predicted.csv
  blocklmm predict sleep.csv 'Reaction ~ Days + (Days | Subject)' new.csv --new-levels population

A kept model is fitted again as it was, by REML or ML, unless --reml or --ml is given. New rows have
the formula's columns but for the response.""",
    """\
files:
  --out     the columns that the model reads, .mean and with --interval .lower and .upper; one row
            for each new row, in their order, without values where the new row misses one. It is
            there as a whole, or as it was before. CSV has commas, decimal points and UTF-8.
""",
)
