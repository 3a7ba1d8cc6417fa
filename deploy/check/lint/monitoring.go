package lint

func monitoringRules() []Rule { return nil }
