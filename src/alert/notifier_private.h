/* notifier_private.h -- for tests: a notifier with other pauses. */
#pragma once

#include "alert/notifier.h"
#include "alert/notify_sender.h"

/* notifier_new() with tuning. */
MUST_USE enum errc notifier_new_tuned(const struct notifier_options *options,
                                      const struct notify_tuning *tuning, struct notifier **out,
                                      struct err *err);
