import { PermanentError, StepHandler, type StepContext, type StepHandlerResult } from '@tasker-systems/tasker';

/** The last step: what the applicant reads. */
export class WriteOfferHandler extends StepHandler {
  static handlerName = 'write_offer';
  static handlerVersion = '1.0.0';

  async call(context: StepContext): Promise<StepHandlerResult> {
    const price = context.getDependencyResult('price_loan') as { monthly_cents: number; language: string };
    const risk = context.getDependencyResult('assess_risk') as { grade: string; language: string };
    const check = context.getDependencyResult('check_application') as { months: number; language: string };
    const applicant = context.getInput<string>('applicant');
    if (risk.grade === 'C') {
      throw new PermanentError(`no offer for grade ${risk.grade}`);
    }

    const monthly = (price.monthly_cents / 100).toFixed(2);
    return this.success({
      offer: `${applicant}, your loan costs ${monthly} a month for ${check.months} months.`,
      languages: [check.language, price.language, risk.language, 'TypeScript'],
    });
  }
}
