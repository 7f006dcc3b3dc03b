"""Does a selection by these scores help a model that learns from what it keeps?"""
