# frozen_string_literal: true

require 'tasker_core'

module Loans
  # What the loan costs a month.
  class PriceLoanHandler < TaskerCore::StepHandler::Base
    def call(context)
      amount = context.get_dependency_field('check_application', 'amount_cents')
      months = context.get_dependency_field('check_application', 'months')
      rate = context.get_config('yearly_rate_percent') / 1200.0
      payment = rate.zero? ? amount.fdiv(months) : amount * rate / (1 - ((1 + rate)**-months))

      success(result: { monthly_cents: payment.ceil, language: 'Ruby' })
    end
  end
end
