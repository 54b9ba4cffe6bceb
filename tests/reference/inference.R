# Writes inference/*.json: Rscript inference.R, in this folder.
# Hypotheses and F tests by lmerTest, means and their differences by emmeans.
suppressMessages({library(lmerTest); library(emmeans); library(jsonlite)})
emm_options(msg.interaction = FALSE, msg.nesting = FALSE)
options(contrasts = c("contr.treatment", "contr.poly"))

read <- function(name) {
  about <- fromJSON(file.path("data", paste0(name, ".json")))$columns
  file <- Sys.glob(file.path("data", paste0(name, ".csv*")))
  data <- read.csv(file, na.strings = "NA", colClasses = "character", check.names = FALSE)
  for (k in seq_len(nrow(about))) {
    column <- about$name[k]
    data[[column]] <- if (about$type[k] == "factor") factor(data[[column]], about$levels[[k]])
                      else as.numeric(data[[column]])
  }
  data
}

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-9, maxfun = 1e5),
                     check.conv.singular = "ignore", check.conv.grad = "ignore",
                     check.conv.hess = "ignore", check.rankX = "silent.drop.cols",
                     check.scaleX = "ignore")

tests <- function(fit, type, ddf) {
  table <- anova(fit, type = type, ddf = ddf)
  data.frame(term = rownames(table), sum_sq = table[["Sum Sq"]], mean_sq = table[["Mean Sq"]],
             num_df = table$NumDF, den_df = table$DenDF, F = table[["F value"]],
             p_value = table[["Pr(>F)"]])
}

hypotheses <- function(fit, type) {
  found <- show_tests(anova(fit, type = type))
  lapply(found, function(L) unname(as.matrix(L)))
}

means <- function(fit, specs, by = NULL, at = list(), df = "asymptotic") {
  grid <- emmeans(fit, unlist(specs), by = unlist(by), at = at, lmer.df = df, lmerTest.limit = 1e5)
  plain <- as.data.frame(summary(grid))
  levels <- c(unlist(specs), unlist(by))
  names(plain)[length(levels) + 1:5] <- c("emmean", "std_error", "df", "conf_low", "conf_high")
  plain[levels] <- lapply(plain[levels], as.character)
  compared <- pairs(grid)
  adjusted <- lapply(c(none = "none", tukey = "tukey", holm = "holm", bonferroni = "bonferroni",
                       sidak = "sidak"), function(adjust) {
    table <- as.data.frame(summary(compared, infer = c(TRUE, TRUE), adjust = adjust))
    n <- ncol(table)
    list(p_value = table[[n]], statistic = table[[n - 1]], conf_low = table[[n - 3]],
         conf_high = table[[n - 2]])
  })
  table <- as.data.frame(summary(compared))
  list(ddf = df, specs = I(unlist(specs)), by = I(as.character(unlist(by))), at = at, means = plain,
       contrast = as.character(table$contrast), estimate = table$estimate, std_error = table$SE,
       df = table$df, adjusted = adjusted)
}

case <- function(name, data, formula, ..., rows = NULL, contrasts = NULL, REML = TRUE,
                 weights = NULL, emm = list(), kr = FALSE) {
  frame <- read(data)
  if (!is.null(rows)) frame <- droplevels(frame[rows, ])
  coded <- if (is.null(contrasts)) NULL else lapply(contrasts, function(c) paste0("contr.", c))
  frame$w_ <- if (is.null(weights)) 1 else frame[[weights]]
  call <- list(as.formula(formula), frame, REML = REML, control = tight, contrasts = coded)
  fit <- suppressMessages(if (is.null(weights)) do.call(lmer, call)
                          else do.call(lmer, c(call, list(weights = frame$w_))))
  out <- list(name = name, data = data, formula = formula, REML = REML,
              contrasts = contrasts, weights = weights,
              rows = if (is.null(rows)) NULL else I(rows), sigma = sigma(fit),
              coefficients = names(fixef(fit)))
  for (type in 1:3) {
    out[[paste0("type", type)]] <- suppressMessages(list(
      hypotheses = hypotheses(fit, type), tests = tests(fit, type, "Satterthwaite")))
    if (kr) out[[paste0("type", type)]]$kenward_roger <- tests(fit, type, "Kenward-Roger")
  }
  out$emmeans <- lapply(emm, function(e) do.call(means, c(list(fit), e)))
  out$versions <- paste0("R ", getRversion(), ", ", paste(sapply(
    c("lme4", "lmerTest", "pbkrtest", "emmeans"),
    function(p) paste(p, packageVersion(p))), collapse = ", "))
  write(toJSON(out, digits = 17, auto_unbox = TRUE, null = "null", na = "null", matrix = "rowmajor"),
        file.path("inference", paste0(name, ".json")))
  cat(name, "\n")
}

set.seed(20)
cake <- read("cake")
some <- sort(sample(270, 190))
two_cells <- setdiff(some, which(with(cake, (recipe == "A" & temperature == "175") |
                                            (recipe == "C" & temperature == "205"))))
random <- "(1 | recipe:replicate)"
two_way <- list(list("recipe"), list("temperature"), list("recipe", by = "temperature"),
                list(c("temperature", "recipe"), at = list(temperature = c("175", "185"))))
few <- list(list("recipe"), list("recipe", by = "temperature"))

case("cake_balanced", "cake", paste("angle ~ recipe * temperature +", random), emm = two_way, kr = TRUE)
case("cake_unbalanced", "cake", paste("angle ~ recipe * temperature +", random), rows = some,
     emm = c(two_way, list(list("temperature", df = "satterthwaite"))), kr = TRUE)
case("cake_sum", "cake", paste("angle ~ recipe * temperature +", random), rows = some,
     contrasts = list(recipe = "sum", temperature = "sum"), emm = few)
case("cake_helmert", "cake", paste("angle ~ recipe * temperature +", random), rows = some,
     contrasts = list(recipe = "helmert"), emm = few)
case("cake_empty_cells", "cake", paste("angle ~ recipe * temperature +", random), rows = two_cells,
     emm = few)
case("cake_empty_cells_sum", "cake", paste("angle ~ recipe * temperature +", random),
     rows = two_cells, contrasts = list(recipe = "sum", temperature = "helmert"))
case("cake_rank_deficient", "cake", paste("angle ~ recipe * temp + temperature +", random),
     rows = some)
case("cake_rank_deficient_sum", "cake", paste("angle ~ recipe * temp + temperature +", random),
     rows = some, contrasts = list(recipe = "sum", temperature = "sum"))
case("cake_slopes", "cake", paste("angle ~ recipe * temp +", random), rows = some, kr = TRUE,
     emm = list(list("recipe"), list("recipe", at = list(temp = 200)),
                list("recipe", by = "temp", at = list(temp = c(180, 220))),
                list(c("temp", "recipe"), at = list(temp = c(180, 220)))))
case("cake_slopes_sum", "cake", paste("angle ~ recipe * temp +", random), rows = some,
     contrasts = list(recipe = "sum"))
case("cake_slopes_alone", "cake", paste("angle ~ temp + recipe:temp +", random), rows = some)
case("cake_nested", "cake", paste("angle ~ recipe + recipe:temp +", random), rows = some)
case("cake_nested_cells", "cake", paste("angle ~ recipe + recipe:temperature +", random),
     rows = some)
case("cake_cells", "cake", paste("angle ~ recipe:temperature +", random), rows = some)
case("cake_poly", "cake", paste("angle ~ recipe * poly(temp, 2) +", random), rows = some,
     emm = list(list("recipe"), list("recipe", at = list(temp = c(180)))))
case("cake_scaled", "cake", paste("angle ~ scale(temp) * recipe +", random), rows = some)
case("cake_square", "cake", paste("angle ~ recipe * (temp + I(temp^2)) +", random), rows = some,
     emm = list(list("recipe")))
case("cake_no_intercept", "cake", paste("angle ~ 0 + recipe * temperature +", random), rows = some,
     emm = few)
case("cake_no_intercept_slopes", "cake", paste("angle ~ 0 + temp * recipe +", random), rows = some)
case("cake_no_intercept_two", "cake", paste("angle ~ 0 + temp + recipe + temperature +", random),
     rows = some)
case("cake_no_intercept_cells", "cake", paste("angle ~ 0 + recipe:temperature +", random),
     rows = some)
case("cake_one_term", "cake", paste("angle ~ recipe +", random), rows = some, REML = FALSE,
     emm = list(list("recipe")))
case("cake_offset", "cake", paste("angle ~ recipe + offset(temp / 10) +", random), rows = some,
     emm = list(list("recipe")))
case("arabidopsis", "Arabidopsis", "lfruit ~ nutrient * amd * status + rack + (1 | gen_f)",
     emm = list(list("amd"), list("nutrient"), list("amd", by = c("status", "nutrient")),
                list(c("nutrient", "amd"))), kr = TRUE)
case("arabidopsis_sum", "Arabidopsis", "lfruit ~ nut_f * amd * status + reg + (1 | popu) + (1 | gen_f)",
     contrasts = list(nut_f = "sum", amd = "helmert", status = "sum", reg = "sum"),
     emm = list(list("status"), list("reg", by = "amd")))
case("exam", "Exam", "normexam ~ standLRT * sex * schgend + vr + (standLRT | school)", REML = FALSE,
     emm = list(list("vr"), list("vr", by = "sex"), list("vr", by = "sex", at = list(schgend = "mixed"))))
case("mortality", "MortalityRates", "mrate ~ year * legal + beertaxa + (1 | state)", weights = "popk",
     emm = list(list("legal", at = list(legal = c(0, 1)))))
case("oats", "Oats", "yield ~ Variety * factor(nitro) + (1 | Block/Variety)",
     emm = list(list("nitro"), list(c("Variety", "nitro")),
                list(c("Variety", "nitro"), df = "satterthwaite")), kr = TRUE)
case("tv", "TVbo", "Noise ~ TVset * Picture * Repeat + (1 | Assessor) + (1 | Assessor:TVset)",
     emm = list(list("TVset"), list("Picture", by = c("TVset", "Repeat"))), kr = TRUE)
