# Fits each column of responses by lmerTest: estimate, standard error, df and p of each coefficient,
# by Satterthwaite and by Kenward-Roger, and 95 % Wald limits.
# usage: Rscript coverage.R design.csv responses.csv formula out.csv
suppressMessages({library(lmerTest); library(pbkrtest)})
args <- commandArgs(trailingOnly = TRUE)
design <- read.csv(args[1]); design$g <- factor(design$g)
responses <- as.matrix(read.csv(args[2], header = FALSE))
formula <- as.formula(args[3])
out <- list()
for (k in seq_len(ncol(responses))) {
  design$y <- responses[, k]
  fit <- suppressMessages(suppressWarnings(lmer(formula, design)))
  for (ddf in c("Satterthwaite", "Kenward-Roger")) {
    table <- suppressMessages(suppressWarnings(coef(summary(fit, ddf = ddf))))
    out[[length(out) + 1]] <- data.frame(set = k, ddf = ddf, term = rownames(table),
      estimate = table[, 1], std_error = table[, 2], df = table[, 3], p = table[, 5])
  }
}
write.csv(do.call(rbind, out), args[4], row.names = FALSE)
