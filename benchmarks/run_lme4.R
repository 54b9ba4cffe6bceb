# Fit a case with lme4. The report gives the arguments:
#   data.csv warm_up.csv column_classes(comma separated) formula number_of_calls median|best

arguments <- commandArgs(TRUE)
classes <- strsplit(arguments[3], ",")[[1]]
formula <- as.formula(arguments[4])
n_calls <- as.integer(arguments[5])
figure <- if (arguments[6] == "median") median else min
budget_seconds <- 10

suppressPackageStartupMessages(library(lme4))

status_mb <- function(key) {
  if (!file.exists("/proc/self/status")) return(NA)
  line <- grep(paste0("^", key, ":"), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) * 1024 / 1e6
}

reset_peak <- function() {
  try(suppressWarnings(cat("5", file = "/proc/self/clear_refs")), silent = TRUE)
}

fit <- function(frame) {
  fitted <- suppressMessages(suppressWarnings(lmer(formula, frame)))
  sqrt(diag(as.matrix(vcov(fitted))))
  fitted
}

invisible(fit(read.csv(arguments[2], colClasses = classes)))
frame <- read.csv(arguments[1], colClasses = classes)

cpu <- wall <- numeric()
invisible(gc())
before <- status_mb("VmRSS")
reset_peak()
while (length(cpu) == 0 || (length(cpu) < n_calls && sum(wall) < budget_seconds)) {
  fitted <- NULL
  start <- proc.time()
  fitted <- fit(frame)
  used <- proc.time() - start
  cpu <- c(cpu, used[["user.self"]] + used[["sys.self"]])
  wall <- c(wall, used[["elapsed"]])
  if (length(cpu) == 1) peak_mb <- status_mb("VmHWM") - before
}

number <- function(x) if (is.na(x)) "null" else sprintf("%.17g", x)
cat(sprintf(
  '{"version": "%s", "n_rows": %d, "n_calls": %d, "cpu_s": %s, "wall_s": %s, "peak_mb": %s, "objective": %s}\n',
  packageVersion("lme4"), nrow(frame), length(cpu), number(figure(cpu)), number(figure(wall)),
  number(peak_mb), number(REMLcrit(fitted))
))
