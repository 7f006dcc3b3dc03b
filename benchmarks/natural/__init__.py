"""Pairs as packages carry them, labelled blind: do the scores tell which texts describe?"""
